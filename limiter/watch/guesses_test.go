package watch

import (
	"testing"
	"time"
)

// guess returns an attempt by a stranger.
func guess(source string, account string, credential uint64, o Outcome) *hashedAttempt {
	a := &Attempt{Account: account, Credential: credential, Outcome: o}
	a.Source, a.Network = from(source)
	h := hasher{1}.attempt(a)
	return &h
}

// TestNewGuesses: a guess is new once. Without a credential or an answer it is new again after ten minutes.
func TestNewGuesses(t *testing.T) {
	g := newGuesses(hasher{1})
	for i, step := range []struct {
		after time.Duration
		a     *hashedAttempt
		want  bool
	}{
		{0, guess("192.0.2.1", "a", 1, Denied), true},
		{0, guess("192.0.2.1", "a", 1, Denied), false},
		{0, guess("192.0.2.2", "a", 1, Denied), true},
		{0, guess("192.0.2.1", "a", 2, Rejected), true},
		{time.Hour, guess("192.0.2.1", "a", 1, Rejected), false},
		{11 * time.Hour, guess("192.0.2.1", "a", 2, Denied), false},
		{22 * time.Hour, guess("192.0.2.1", "a", 2, Denied), false}, // remembered since the last time
		{48 * time.Hour, guess("192.0.2.2", "a", 1, Denied), true},
		{48 * time.Hour, guess("192.0.2.3", "a", 0, Denied), true},
		{48*time.Hour + 10*time.Second, guess("192.0.2.3", "A", 0, Denied), false},
		{48*time.Hour + 10*time.Second, guess("192.0.2.3", "b", 0, Denied), true},
		{48*time.Hour + 10*time.Minute, guess("192.0.2.3", "a", 0, Denied), true},
		{49 * time.Hour, guess("192.0.2.4", "a", 1, Gone), true},
		{49*time.Hour + 10*time.Second, guess("192.0.2.4", "a", 1, Shed), false},
		{49*time.Hour + 10*time.Minute, guess("192.0.2.4", "a", 1, Shed), true},
	} {
		if got := g.attempt(monday.Add(step.after), step.a); got != step.want {
			t.Errorf("step %d: got %v, want %v", i, got, step.want)
		}
	}
}

// TestFloodOfGuesses: nearly all of three million new guesses are new, and so is one from before that.
func TestFloodOfGuesses(t *testing.T) {
	g := newGuesses(hasher{1})
	old := guess("192.0.2.1", "a", 1, Denied)
	g.attempt(monday, old)
	a, fresh := guess("192.0.2.9", "a", 0, Denied), 0
	const all = 3 * guessMost
	for i := range all {
		a.Credential = uint64(i) + 2
		if g.attempt(monday, a) {
			fresh++
		}
	}
	if fresh < all*99/100 || !g.attempt(monday, old) {
		t.Errorf("got %d new guesses of %d", fresh, all)
	}
}

// TestSuspects: which attempts count as suspects, and as which.
func TestSuspects(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Attempt)
		want   suspects
	}{
		{"denied", func(*Attempt) {}, suspects{guesses: 1}},
		{"rejected", func(a *Attempt) { a.Outcome = Rejected }, suspects{guesses: 1}},
		{"repeat", func(a *Attempt) { a.Outcome = Repeat }, suspects{}},
		{"hung up", func(a *Attempt) { a.Outcome = Gone }, suspects{unanswered: 1}},
		{"shed", func(a *Attempt) { a.Outcome = Shed }, suspects{unanswered: 1}},
		{"fault", func(a *Attempt) { a.Outcome = Fault }, suspects{}},
		{"known", func(a *Attempt) { a.Known = true }, suspects{}},
		{"worked", func(a *Attempt) { a.Worked = true }, suspects{}},
		{"former", func(a *Attempt) { a.Former = true }, suspects{}},
		{"hung up, worked", func(a *Attempt) { a.Outcome, a.Worked = Gone, true }, suspects{}},
	} {
		w := New(Config{})
		a := guess("192.0.2.1", "a", 1, Denied)
		c.change(a.Attempt)
		for range 3 {
			w.Attempt(monday, *a.Attempt)
		}
		if got := w.counts.networks[a.Network]; got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
	w := New(Config{})
	a := guess("192.0.2.1", "a", 1, Denied)
	w.Held(monday, a.Source, a.Network)
	w.Held(monday, a.Source, a.Network)
	if got := w.counts.networks[a.Network]; got != (suspects{unanswered: 1}) {
		t.Errorf("held: got %+v", got)
	}
}

// TestSourcesAreNotNewAgainAtOnce: connections that are held again and again count evenly over time.
func TestSourcesAreNotNewAgainAtOnce(t *testing.T) {
	g := newGuesses(newHasher([16]byte{1}))
	const sources, minutes = 1000, 40
	var found [minutes]int
	for minute := range minutes {
		for i := range uint32(sources) {
			source, _ := blocks(i, 1)
			if g.held(monday.Add(time.Duration(minute)*time.Minute), source) {
				found[minute]++
			}
		}
	}
	for minute, n := range found[1:] {
		if n < sources/20 || n > sources/5 {
			t.Errorf("minute %d: %d of %d sources are new again, want about a tenth", minute+1, n, sources)
		}
	}
}

// TestNetworkCountsForItsShare: at a small site one network counts once in 20 ticks, and other networks at once.
func TestNetworkCountsForItsShare(t *testing.T) {
	p, counted := newPace(), 0
	_, one := from("192.0.2.1")
	_, other := from("198.51.100.1")
	for p.every = 20; p.tick < 40; p.tick++ {
		if p.counts(one) {
			counted++
		}
	}
	if counted != 2 || !p.counts(other) {
		t.Errorf("counted in %d of 40 ticks, want 2", counted)
	}
	p.every = 1
	for range 2 {
		if !p.counts(one) {
			t.Error("does not count in each tick")
		}
	}
}
