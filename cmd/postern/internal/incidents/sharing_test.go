package incidents

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/limiter/share"
	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// TestOneAlertForTheSite: three gateways see an attack. The leader alerts and dies, another one leads on, and commands come
// from a third. There is one alert and one end of it, and everybody keeps the same.
func TestOneAlertForTheSite(t *testing.T) {
	t.Parallel()
	s := newGatewaySite(t)
	s.feed(calm, 10*time.Minute)
	s.feed(raided, 2*time.Minute)
	if got := s.hook.alerts(t); len(got) != 1 || s.all[1].Stats().Sent["webhook"].OK != 0 {
		t.Fatalf("got %q", got)
	}
	s.equal()
	for n, m := range s.all {
		if pages := len(files(t, s.configs[n].StatusDir)); (pages > 0) != (n == 0) || m.Stats().Written.IsZero() != (n != 0) {
			t.Errorf("gateway %d has %d files of the status page, written %v", n, pages, m.Stats().Written)
		}
	}
	s.dead[0] = true
	s.feed(raided, 20*time.Second) // the lease
	s.lead(1)
	sent := len(s.alerts.bodies)
	s.feed(raided, 10*time.Minute)
	if more := len(s.alerts.bodies) - sent; more < 9 || more > 11 {
		t.Errorf("Alertmanager was sent %d in 10 min, want one a minute", more)
	}
	do(t, s.all[2], s.now.Add(time.Millisecond), incident.Command{Action: incident.ActAck})
	s.feed(raided, 70*time.Minute)
	s.feed(calm, 2*time.Hour)
	s.equal()
	if got := strings.Join(s.hook.alerts(t), ", "); got != "firing attack, resolved attack" {
		t.Errorf("got %s", got)
	}
	if got := s.labels(); len(got) != 1 || strings.Contains(got[0], "instance") {
		t.Errorf("got alerts %q", got)
	}
	if all := s.all[2].All(); len(all) != 1 || all[0].AckedBy != "anna" || all[0].Phase != incident.Resolved {
		t.Errorf("got %+v", all)
	}
	if counted := s.all[0].Stats().Incidents[watch.ClassAttack] + s.all[1].Stats().Incidents[watch.ClassAttack]; counted != 1 {
		t.Errorf("counted %d incidents", counted)
	}
	for n, m := range s.all[1:] {
		if got := m.Failures(s.now); len(got) > 0 {
			t.Errorf("gateway %d: failures %q", n+1, got)
		}
	}
}

// TestPartitionHeals: while no gateway reaches another, each sends one alert. When they meet, one incident continues, the
// others end, and people get no further alert.
func TestPartitionHeals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		between   time.Duration // the alarms of two gateways
		incidents int
	}{{"in different minutes", 70 * time.Second, 3}, {"in the same minute", 10 * time.Second, 1}} {
		t.Run(c.name, func(t *testing.T) {
			s := newGatewaySite(t)
			s.feed(calm, 10*time.Minute)
			s.apart = map[int]bool{0: true, 1: true, 2: true}
			s.lead(0)
			for n := range 3 { // the gateways see the attack one after the other
				s.dead = map[int]bool{1: n < 1, 2: n < 2}
				s.feed(raided, c.between)
			}
			s.feed(raided, 5*time.Minute)
			if got := s.hook.alerts(t); len(got) != 3 {
				t.Fatalf("got %q, want one from each gateway", got)
			}
			if got := s.labels(); len(got) != c.incidents {
				t.Errorf("got %d different alerts: %q", len(got), got)
			}
			s.apart = map[int]bool{}
			s.lead(2) // not the one that has the incident that continues
			s.feed(raided, 10*time.Minute)
			s.equal()
			do(t, s.all[0], s.now, incident.Command{Action: incident.ActAck})
			first := s.all[0].All()[c.incidents-1].ID
			for _, i := range s.all[1].All()[:c.incidents-1] {
				if i.Into != first || i.Phase != incident.Resolved {
					t.Errorf("got %s in phase %s, which %q continues, want %q", i.ID, i.Phase, i.Into, first)
				}
			}
			s.feed(calm, 2*time.Hour)
			s.equal()
			var firing, resolved int
			for _, a := range s.hook.alerts(t) {
				firing += strings.Count(a, "firing")
				resolved += strings.Count(a, "resolved")
			}
			if firing != 3 || resolved != c.incidents {
				t.Errorf("got %q", s.hook.alerts(t))
			}
		})
	}
}

// TestFalseAlarmAtFollower: a command at a follower ends the incident everywhere, and all detectors relearn, each once.
func TestFalseAlarmAtFollower(t *testing.T) {
	s := newGatewaySite(t)
	s.feed(raided, 5*time.Minute)
	before := s.all[0].watch.Snapshot(s.now)
	for _, m := range s.all {
		for n := range 200 {
			m.Attempt(s.now, watch.Attempt{Outcome: watch.Denied, Credential: uint64(n + 1)})
		}
		m.watch.Tick(s.now.Add(10 * time.Second))
	}
	s.now = s.now.Add(10 * time.Second)
	do(t, s.all[1], s.now, incident.Command{Action: incident.ActFalseAlarm})
	s.exchange()
	s.equal()
	for n, m := range s.all {
		if _, open := m.Open(); open || string(m.watch.Snapshot(s.now)) == string(before) {
			t.Errorf("gateway %d: open %v, or has learned nothing", n, open)
		}
	}
	s.deliver()
	if got := strings.Join(s.hook.alerts(t), ", "); got != "firing attack, resolved attack" {
		t.Errorf("got %s", got)
	}
}

// TestRecordsTwice: records that arrive again, before and after a shared state, change nothing.
func TestRecordsTwice(t *testing.T) {
	s := newGatewaySite(t)
	records := []shareRecord{}
	s.feed(raided, 5*time.Minute)
	s.dead[2] = true
	s.all[0].config.Share = func(kind share.RecordType, data []byte) { records = append(records, shareRecord{0, s.now, kind, data}) }
	s.feed(raided, 5*time.Minute)
	do(t, s.all[0], s.now, incident.Command{Action: incident.ActNote, Text: "seen"})
	s.feed(calm, time.Hour)
	if len(records) < 5 {
		t.Fatalf("%d records", len(records))
	}
	s.dead[2], s.dead[1] = false, true
	state := s.all[0].ExportShared()
	for range 2 {
		for _, r := range slices.Concat(records, records[1:]) {
			if err := s.all[2].Receive(r.at, r.kind, r.data); err != nil {
				t.Error(err)
			}
		}
		if err := s.all[2].MergeShared(s.now, state); err != nil {
			t.Error(err)
		}
		s.equal()
	}
}

// TestJoinerAdoptsState: a new gateway has the incidents and what people were sent. What only it knows reaches the others.
func TestJoinerAdoptsState(t *testing.T) {
	s := newGatewaySite(t)
	s.dead[2] = true
	s.apart[2] = true
	s.feed(raided, 10*time.Minute)
	s.apart[2] = false
	err := s.all[2].Receive(s.now, share.RecordIncident, []byte(fmt.Sprintf(`{"time":%q,"incident":%q,"kind":"note","by":"anna"}`, s.now.Format(time.RFC3339), s.all[0].All()[0].ID)))
	if err == nil || !strings.Contains(err.Error(), "unknown incident") {
		t.Errorf("an event of an incident that is not known: %v", err)
	}
	s.dead[2] = false
	s.all[2].config.Share = nil // what it does now is lost
	do(t, s.all[2], noon.Add(2*time.Minute), incident.Command{Action: incident.ActOpen, Class: watch.ClassStorm})
	do(t, s.all[2], noon.Add(3*time.Minute), incident.Command{Action: incident.ActResolve, Force: true})
	s.all[2].config.Share = s.configs[2].Share
	if err := s.all[2].MergeShared(s.now, s.all[0].ExportShared()); err != nil {
		t.Fatal(err)
	}
	s.exchange()
	s.feed(raided, time.Minute)
	s.equal()
	if n := len(s.all[0].All()); n != 2 {
		t.Errorf("%d incidents", n)
	}
	s.lead(2)
	s.feed(raided, 10*time.Minute)
	if got := strings.Join(s.hook.alerts(t), ", "); got != "firing attack" {
		t.Errorf("got %s", got)
	}
}

// TestTicksAreShared: what one gateway counts is in the minutes of all of them.
func TestTicksAreShared(t *testing.T) {
	s := newGatewaySite(t)
	for n := range 60 {
		for k, m := range s.all {
			for range k + 1 {
				m.Attempt(s.now, watch.Attempt{Outcome: watch.Accepted, Known: true})
			}
		}
		s.now = at(float64(n+1) / 12)
		for _, m := range s.all {
			m.tick(s.now)
		}
		s.exchange()
	}
	for n, m := range s.all {
		if got := m.RecentLogins(at(4), 2*time.Minute); got.Accepted != 24*6 {
			t.Errorf("gateway %d: got %+v, want %d", n, got, 24*6)
		}
	}
}

// TestFollowerStaysOneAtAnUpgrade, and follows in the next process.
func TestFollowerStaysOneAtAnUpgrade(t *testing.T) {
	s := newGatewaySite(t)
	s.feed(raided, time.Minute)
	for n := range s.all {
		s.all[n] = handOver(t, s.now, s.all[n], s.configs[n])
		if s.all[n].Leads() != (n == 0) {
			t.Errorf("gateway %d leads: %v", n, s.all[n].Leads())
		}
	}
	s.feed(raided, 10*time.Minute)
	s.equal()
	if got := s.hook.alerts(t); len(got) != 1 {
		t.Errorf("got %q", got)
	}
}

// TestRefusesRecords that are not valid, and states of another version.
func TestRefusesRecords(t *testing.T) {
	m, _ := newManager(t, Config{Share: func(share.RecordType, []byte) {}})
	for _, c := range []struct {
		kind share.RecordType
		data string
		want string
	}{
		{share.RecordHeartbeat, "{}", "want one of"},
		{share.RecordTick, "", "no octets"},
		{share.RecordIncident, "{", "JSON"},
		{share.RecordIncident, "{}", "without time or incident"},
		{share.RecordNotification, "[]", "unmarshal"},
		{share.RecordNotification, "{}", "without incident, recipient or time"},
		{share.RecordIncident, strings.Repeat(" ", sharedMost+1), "at most"},
	} {
		if err := m.Receive(noon, c.kind, []byte(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.10q: got %v, want %q", c.kind, c.data, err, c.want)
		}
	}
	for data, want := range map[string]string{"": "JSON", `{"version":9}`: "got version 9, want 1", strings.Repeat(" ", mergedMost+1): "at most"} {
		if err := m.MergeShared(noon, []byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("state %.20q: got %v, want %q", data, err, want)
		}
	}
	if _, err := m.Export(noon); err != nil {
		t.Fatal(err)
	}
	if err := m.Receive(noon, share.RecordNotification, []byte(`{"time":"2026-03-29T12:00:00Z","incident":"a","to":"b"}`)); err == nil {
		t.Error("a record after the hand-over is not refused")
	}
}

// FuzzReceive: no record makes a Manager panic.
func FuzzReceive(f *testing.F) {
	f.Add(uint8(0), []byte("\x01"))
	f.Add(uint8(1), []byte(`{"time":"2026-03-29T12:00:00Z","incident":"20260329-1200","kind":"open","to":"detected","class":"attack","by":"postern"}`))
	f.Add(uint8(2), []byte(`{"time":"2026-03-29T12:00:00Z","incident":"20260329-1200","to":"public","class":"attack"}`))
	f.Add(uint8(3), []byte(`{"version":1,"made":"2026-03-29T12:00:00Z","events":[{"time":"2026-03-29T12:00:00Z","incident":"a","kind":"open","to":"resolved","class":"storm"}]}`))
	f.Fuzz(func(_ *testing.T, kind uint8, data []byte) {
		m, err := New(noon, Config{Location: cest, Log: discard, Share: func(share.RecordType, []byte) {}})
		if err != nil {
			return
		}
		if int(kind) < len(RecordTypes()) {
			_ = m.Receive(noon, RecordTypes()[kind], data)
		} else {
			_ = m.MergeShared(noon, data)
		}
		m.tick(at(1))
		for _, i := range m.All() {
			m.summary(at(1), i, i.Class)
		}
		m.ExportShared()
	})
}
