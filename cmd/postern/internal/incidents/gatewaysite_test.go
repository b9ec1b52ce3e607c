package incidents

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/limiter/share"
	"postern/limiter/watch"
)

// A shareRecord is a record on its way from one gateway to the others.
type shareRecord struct {
	from int
	at   time.Time
	kind share.RecordType
	data []byte
}

// A gatewaySite is some gateways that share over a bus.
type gatewaySite struct {
	*testing.T
	all     []*Manager
	configs []Config
	dead    map[int]bool
	apart   map[int]bool // gateways that reach no other
	queue   []shareRecord
	hook    *webhookServer
	alerts  *webhookServer // an Alertmanager
	now     time.Time
}

// newGatewaySite returns a site of three gateways, of which the first leads.
func newGatewaySite(t *testing.T) *gatewaySite {
	s := &gatewaySite{T: t, dead: map[int]bool{}, apart: map[int]bool{}, hook: newWebhookServer(t), alerts: newWebhookServer(t), now: noon}
	for n := range 3 {
		c := Config{Dir: t.TempDir(), StatusDir: t.TempDir(), Webhooks: []*url.URL{s.hook.url(t)}, Alertmanager: s.alerts.url(t)}
		c.Share = func(kind share.RecordType, data []byte) { s.queue = append(s.queue, shareRecord{n, s.now, kind, data}) }
		m, _ := newManager(t, c)
		m.Lead(n == 0)
		s.all, s.configs = append(s.all, m), append(s.configs, c)
	}
	return s
}

// exchange delivers what gateways have shared, if they reach each other.
func (s *gatewaySite) exchange() {
	s.Helper()
	var kept []shareRecord
	for len(s.queue) > 0 {
		r := s.queue[0]
		s.queue = s.queue[1:]
		if s.apart[r.from] {
			kept = append(kept, r)
			continue
		}
		for n, m := range s.all {
			if n == r.from || s.dead[n] || s.apart[n] {
				continue
			}
			if err := m.Receive(r.at, r.kind, r.data); err != nil {
				s.Errorf("%s from %d at %d: %v", r.kind, r.from, n, err)
			}
		}
	}
	s.queue = kept
}

// feed gives the gateways a state for some time, and does what Run would do.
func (s *gatewaySite) feed(state watch.State, lasts time.Duration) {
	s.Helper()
	for end := s.now.Add(lasts); s.now.Before(end); {
		s.now = s.now.Add(10 * time.Second)
		state.Time = s.now
		for n, m := range s.all {
			if !s.dead[n] {
				m.setState(state)
			}
		}
		s.exchange()
		s.deliver()
		s.exchange()
	}
}

// setState is a tick with this state.
func (m *Manager) setState(s watch.State) {
	m.mu.Lock()
	m.state = s
	m.mu.Unlock()
	m.writing.Lock()
	defer m.writing.Unlock()
	m.observe(s.Time, s)
}

// deliver delivers and publishes what is due at all gateways: after a change, and once a minute.
func (s *gatewaySite) deliver() {
	for n, m := range s.all {
		due := s.now.Second() == 0
		select {
		case <-m.changed:
			due = true
		default:
		}
		if s.dead[n] || !due {
			continue
		}
		for _, to := range m.receivers {
			m.deliver(s.Context(), s.now, to)
		}
		m.publish(s.now)
	}
}

// lead makes one gateway lead, or those that are apart each for itself.
func (s *gatewaySite) lead(leader int) {
	for n, m := range s.all {
		m.Lead(n == leader || s.apart[n])
		m.SetAlone(s.now, s.apart[n])
	}
}

// equal fails unless all living gateways keep the same incidents and notifications, in memory and on disk.
func (s *gatewaySite) equal() {
	s.Helper()
	var want []string
	for n, m := range s.all {
		if s.dead[n] {
			continue
		}
		again, _ := newManager(s.T, s.configs[n])
		for from, one := range map[string]*Manager{"in memory": m, "on disk": again} {
			got := contentOf(one)
			if want == nil {
				want = got
			}
			if !reflect.DeepEqual(got, want) {
				s.Errorf("gateway %d, %s: got\n%s\nwant\n%s", n, from, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// contentOf returns the incidents and notifications that m keeps, as text.
func contentOf(m *Manager) (all []string) {
	for _, i := range m.All() {
		all = append(all, fmt.Sprint(i.ID, i.Phase, i.Class, i.Into, i.AckedBy, i.Ended.UTC()))
		for _, e := range i.Events {
			all = append(all, keyOf(e))
		}
		for _, n := range m.notificationsAbout(i.ID) {
			all = append(all, keyOf(n))
		}
	}
	return all
}

// labels returns the distinct sets of labels that Alertmanager was sent.
func (s *gatewaySite) labels() []string {
	found := map[string]bool{}
	for _, body := range s.alerts.bodies {
		_, labels, _ := strings.Cut(body, `"labels":`)
		labels, _, _ = strings.Cut(labels, "}")
		found[labels] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// The states of a site.
var (
	calm   = watch.State{Class: watch.ClassNormal, Users: watch.Users{Good: 100}}
	raided = watch.State{Class: watch.ClassAttack, Tighten: true, Protecting: true, Excess: .5, Users: watch.Users{Good: 100}}
)
