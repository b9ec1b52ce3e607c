package top

import (
	"time"

	"charm.land/lipgloss/v2"

	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/view"
)

// outcome is a result of logins that has a chart.
type outcome struct {
	name  string
	style lipgloss.Style
	of    func(recent.Second) uint32
}

// The outcomes.
var (
	known    = outcome{"known", good, func(s recent.Second) uint32 { return s.Known }}
	stranger = outcome{"stranger", bold, func(s recent.Second) uint32 { return s.Stranger }}
	denied   = outcome{"denied", warning, func(s recent.Second) uint32 { return s.Denied }}
	repeat   = outcome{"repeat", warning, func(s recent.Second) uint32 { return s.Repeat }}
	refused  = outcome{"refused", warning, func(s recent.Second) uint32 { return s.Refused }}
	void     = outcome{"void", faint, func(s recent.Second) uint32 { return s.Void }}
)

// charted are the outcomes in their order.
var charted = []outcome{known, stranger, denied, repeat, refused, void}

// rateTime is the time over which a current rate is the mean.
const rateTime = 5 * time.Second

// rate is the current number a second.
func (c outcome) rate(v *view.View) float64 { return c.bins(v, 1, int64(rateTime/time.Second))[0] }

// bins returns the mean numbers a second of the latest n times of that many seconds, the
// oldest first.
func (c outcome) bins(v *view.View, n int, seconds int64) []float64 {
	values := make([]float64, n)
	end := v.Time.Unix()
	if len(v.Series) > 0 { // the second of the view itself may not be over
		end = max(v.Series[len(v.Series)-1].Time, end-1)
	}
	for _, s := range v.Series {
		if back := (end - s.Time) / seconds; s.Time <= end && back < int64(n) {
			values[int64(n)-1-back] += float64(c.of(s)) / float64(seconds)
		}
	}
	return values
}

// peak is the highest number in one second.
func (c outcome) peak(v *view.View) (highest float64) {
	for _, s := range v.Series {
		highest = max(highest, float64(c.of(s)))
	}
	return highest
}

// The widths in a chart, and the least width of one.
const (
	chartName = 9
	chartRate = 6
	chartPeak = 8
	chartMin  = 40
)

// charts draws the logins a second by outcome, several beside each other.
func (m *model) charts(v *view.View) []string {
	columns := min(max(m.width/chartMin, 1), 3)
	width := m.width / columns
	graph := max(width-chartName-chartRate-chartPeak-3, 1)
	seconds := max(int64(view.SeriesTime/time.Second)/int64(graph), 1)
	var lines []string
	for i, c := range charted {
		if i%columns == 0 {
			lines = append(lines, "")
		}
		lines[len(lines)-1] += m.fit(bold.Render(m.fit(c.name, chartName, false))+m.fit(short(c.rate(v))+"/s", chartRate, true)+" "+
			c.style.Render(m.bar(c.bins(v, graph, seconds)))+" "+m.fit("max "+short(c.peak(v)), chartPeak, false), width, false)
	}
	return lines
}
