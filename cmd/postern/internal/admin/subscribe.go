package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/view"
)

// liveTimeout is how long the next view may take until the connection counts as lost.
const liveTimeout = 10 * time.Second

// errLost is the end of a stream that was without events for too long.
var errLost = fmt.Errorf("got no view for %v", liveTimeout)

// Live calls each with the latest view, one a second, until ctx is done, the stream ends
// or each returns an error, and returns why. The end of the stream is io.EOF: after an
// upgrade another process answers. Each view has the whole series.
func (c *Client) Live(ctx context.Context, each func(*view.View) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost := time.AfterFunc(liveTimeout, func() { cancel(errLost) })
	defer lost.Stop()
	resp, err := c.send(ctx, &http.Client{Transport: c.http.Transport}, http.MethodGet, view.LivePath, nil)
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("ask %s for %s: %w", c.addr, view.LivePath, cause)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, answerMax)
	var series []recent.Second
	for lines.Scan() {
		data, isData := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !isData {
			continue
		}
		lost.Reset(liveTimeout)
		var v view.View
		if err := json.Unmarshal(data, &v); err != nil {
			return fmt.Errorf("ask %s for %s: %w", c.addr, view.LivePath, err)
		}
		series = merge(series, v.Series, v.Time.Add(-view.SeriesTime).Unix())
		v.Series = slices.Clone(series)
		if err := each(&v); err != nil {
			return err
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("ask %s for %s: %w", c.addr, view.LivePath, cause)
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("ask %s for %s: %w", c.addr, view.LivePath, eventlog.WithoutAddr(err))
	}
	return io.EOF
}

// merge returns series with the seconds of more, which replace those of the same time,
// from a time in seconds since 1970 on. Both are sorted by time.
func merge(series, more []recent.Second, from int64) []recent.Second {
	for _, second := range more {
		i, found := slices.BinarySearchFunc(series, second.Time, compareTime)
		if found {
			series[i] = second
		} else {
			series = slices.Insert(series, i, second)
		}
	}
	first, _ := slices.BinarySearchFunc(series, from, compareTime)
	return series[first:]
}

// compareTime orders seconds by time.
func compareTime(s recent.Second, t int64) int { return int(s.Time - t) }
