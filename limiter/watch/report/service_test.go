package report

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
	_ "time/tzdata" // for machines without time zones

	"postern/limiter/watch"
	"postern/limiter/watch/incident"
)

// monday is 00:00 UTC on a Monday.
var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// tick is the time between two states of a watch.
const tick = 10 * time.Second

// usual are the usual rates of the service: 2 users a second, and a suspect a minute.
var usual = watch.Signals{Logins: 110, Suspects: 1, Networks: 1}

// A service is a small mail service that is attacked from 11:00 to 13:00, with its history and incidents.
type service struct {
	*watch.Watch
	rand     *rand.Rand
	location *time.Location
	now      time.Time
	log      *incident.Log
	history  *History
	start    time.Time         // when the attack begins
	sent     map[time.Time]int // attempts by the hour
	denied   int               // attempts of strangers from 11:00 to 13:00
	stolen   []string          // accounts that the attack was accepted for
}

// playAttack simulates a Tuesday from 09:00 to 17:00.
func playAttack(t *testing.T) *service {
	t.Helper()
	location, err := time.LoadLocation("Europe/Oslo")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 3, 24, 11, 0, 0, 0, location)
	e := &service{
		Watch: watch.New(watch.Config{Location: location}), rand: rand.New(rand.NewPCG(43, 1)), location: location,
		now: start.Add(-2 * time.Hour), history: NewHistory(), start: start, sent: map[time.Time]int{},
	}
	e.log, _ = incident.Replay(nil, 30*time.Second)
	e.Assume(e.now, usual)
	for e.now.Before(start.Add(6 * time.Hour)) {
		e.tick()
	}
	return e
}

// tick simulates 10 s, and keeps minutes, hours and incidents.
func (e *service) tick() {
	since := e.now.Sub(e.start)
	if since == 90*time.Minute {
		e.breakIn()
	}
	for range 15 + e.rand.IntN(7) {
		e.send(attempt("192.0.2.1", e.account(), watch.Attempt{Outcome: watch.Accepted, Known: true, Usual: true, JA4: e.usualJA4()}))
	}
	suspects := e.rand.IntN(6) / 5
	if since >= 0 && since < 2*time.Hour {
		suspects += 50 + e.rand.IntN(9)
	}
	for range suspects {
		var at [4]byte
		binary.BigEndian.PutUint32(at[:], e.rand.Uint32())
		e.send(attempt(netip.AddrFrom4(at).String(), e.account(), watch.Attempt{Outcome: watch.Denied, JA4: botJA4}))
	}
	e.now = e.now.Add(tick)
	r := e.Tick(e.now)
	for _, m := range r.Minutes {
		e.history.AddMinute(m)
	}
	for _, h := range r.Hours {
		e.history.AddHour(h)
	}
	if r.Ticked {
		e.log.Observe(r.State)
	}
}

// botJA4 is the TLS fingerprint of the attack. One of 200 users has it as well.
const botJA4 = "t13d181100_85036bcba153_d41ae481755e"

// usualJA4 returns the TLS fingerprint of some user.
func (e *service) usualJA4() string {
	if e.rand.IntN(200) == 0 {
		return botJA4
	}
	return []string{"t13d1312ip_f57a46bbacb6_ab7e3b40a677", "t12d190600_d83cc789557e_7af1ed941c26"}[e.rand.IntN(2)]
}

// account returns the name of some account.
func (e *service) account() string { return fmt.Sprintf("user%05d", e.rand.IntN(50_000)) }

// send reports an attempt to the watch, and counts it.
func (e *service) send(a watch.Attempt) {
	e.Attempt(e.now, a)
	e.sent[hourOf(e.now).UTC()]++
	if since := e.now.Sub(e.start); a.Outcome == watch.Denied && since >= 0 && since < 2*time.Hour {
		e.denied++
	}
}

// breakIn sends three attempts of the attack that are accepted, and some that wait or are refused.
func (e *service) breakIn() {
	const from = "198.51.100.77"
	for n := range 5 {
		e.send(attempt(from, fmt.Sprintf("victim%d", n), watch.Attempt{Outcome: watch.Denied}))
	}
	for n := range 3 {
		name := fmt.Sprintf("Stolen|%d`\x1b[31m", n)
		e.stolen = append(e.stolen, fmt.Sprintf("stolen|%d`\x1b[31m", n))
		e.send(attempt(from, name, watch.Attempt{Outcome: watch.Accepted, Known: true}))
	}
	for n := range 40 {
		a := watch.Attempt{Outcome: watch.Rejected, Rule: "pair"}
		if n%10 == 0 {
			a = watch.Attempt{
				Outcome: watch.Accepted, Usual: true, Known: true, Rule: "global", Waited: time.Second, Greeting: time.Second,
			}
		}
		e.send(attempt(from, "x", a))
	}
}

// attempt returns a as one from this address on this account.
func attempt(from, account string, a watch.Attempt) watch.Attempt {
	a.Source = netip.MustParsePrefix(from + "/32")
	a.Network = netip.PrefixFrom(a.Source.Addr(), 24).Masked()
	a.Account = account
	return a
}

// report returns the report of the one incident.
func (e *service) report(t *testing.T, f Form) *Report {
	t.Helper()
	i, ok := e.log.Find("")
	if !ok || len(e.log.All()) != 1 {
		t.Fatalf("%d incidents", len(e.log.All()))
	}
	from, to := Span(e.now, &i)
	return New(e.now, Subject{
		Incident: i, Minutes: e.history.Minutes(from, to), Hours: e.history.Hours(from, to), Location: e.location,
		Lookup: func(netip.Addr) (uint32, string) { return 64500, "Example | Net" },
	}, f)
}
