package decisions

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// gateway is a Store that shares, with the changes it has sent.
type gateway struct {
	*Store
	sent []Change
}

// newGateway returns a Store that shares. Its clock and that of the engine are equal.
func newGateway(t *testing.T, path, name string) *gateway {
	t.Helper()
	g := &gateway{Store: New(path)}
	if err := g.Load(start); err != nil {
		t.Fatal(err)
	}
	g.share(t, name)
	return g
}

// share begins to share.
func (g *gateway) share(t *testing.T, name string) {
	t.Helper()
	if err := g.Share(start, name, func(t time.Time) time.Time { return t }, func(c Change) { g.sent = append(g.sent, c) }); err != nil {
		t.Fatal(err)
	}
}

// take returns what was sent since the last call, after JSON.
func (g *gateway) take(t *testing.T) (all []Change) {
	t.Helper()
	for _, c := range g.sent {
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		read, err := ParseChange(data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, read)
	}
	g.sent = nil
	return all
}

// apply applies changes that must be right, and returns how many have an effect.
func (g *gateway) apply(t *testing.T, at time.Time, changes ...Change) int {
	t.Helper()
	applied, err := g.Apply(at, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return len(applied)
}

// end ends a decision that must be in force.
func (g *gateway) end(t *testing.T, at time.Time, id string) {
	t.Helper()
	if _, _, err := g.End(at, id, "bo"); err != nil {
		t.Fatal(err)
	}
}

func TestSharesBlockAndAllow(t *testing.T) {
	a, b := newGateway(t, "", "a"), newGateway(t, "", "b")
	decide(t, a.Store, start, Request{Kind: Observe, By: "anna"})
	done := decide(t, a.Store, start, request("203.0.113.7"))
	decide(t, a.Store, start, Request{Kind: Allow, Network: "203.0.113.7", By: "anna"})
	sent := a.take(t)
	if len(sent) != 2 || sent[0].Decision != done.Decision || sent[0].Gateway != "a" || sent[0].Ended || done.Decision.Gateway != "a" || len(done.Decision.ID) != 9 {
		t.Fatalf("got %+v sent", sent)
	}
	if n := b.apply(t, start, sent...); n != 2 || len(b.List(start)) != 2 || b.List(start)[0].Gateway != "a" {
		t.Errorf("got %d with an effect, %+v", n, b.List(start))
	}
	if n := b.apply(t, start, sent...) + a.apply(t, start, sent...); n != 0 || len(b.sent) != 0 {
		t.Errorf("the same again: got %d with an effect and %v sent", n, b.sent)
	}
	b.end(t, start.Add(time.Minute), done.Decision.ID)
	ended := b.take(t)
	if len(ended) != 1 || !ended[0].Ended || ended[0].EndedBy != "bo" || ended[0].Gateway != "b" || ended[0].Decision.Gateway != "a" {
		t.Fatalf("got %+v sent", ended)
	}
	applied, err := a.Apply(start, ended...)
	if err != nil || len(applied) != 1 || len(a.List(start)) != 2 {
		t.Errorf("got %v, %v, %v in force", applied, err, a.List(start))
	}
	if n := a.apply(t, start, sent...); n != 0 || len(a.List(start)) != 2 {
		t.Errorf("an older change brought the decision back: %v", a.List(start))
	}
}

// Of two changes on the same network, the later one counts. Who has seen a change makes a later one, whatever the clocks say.
func TestLastChangeCounts(t *testing.T) {
	a, b := newGateway(t, "", "a"), newGateway(t, "", "b")
	decide(t, a.Store, start.Add(time.Minute), request("203.0.113.7"))
	decide(t, b.Store, start, Request{Kind: Block, Network: "203.0.113.7", For: "forever", By: "bo"})
	fromA, fromB := a.take(t), b.take(t)
	a.apply(t, start, fromB...)
	b.apply(t, start, fromA...)
	for _, g := range []*gateway{a, b} {
		if list := g.List(start); len(list) != 1 || list[0].By != "anna" {
			t.Errorf("got %+v in force, want the later one", list)
		}
	}
	b.end(t, start, b.List(start)[0].ID)
	if ended := b.take(t); !ended[0].At.Equal(start.Add(time.Minute+time.Millisecond)) || a.apply(t, start, ended...) != 1 || len(a.List(start)) != 0 {
		t.Errorf("got %+v, and %v in force", ended, a.List(start))
	}
	decide(t, a.Store, start, request("203.0.113.7"))
	if b.apply(t, start, a.take(t)...) != 1 {
		t.Error("a new decision after the end has no effect")
	}
}

// Gateways that apply the same changes in any order, some twice, have the same decisions.
func TestAnyOrderGivesTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	var gateways []*gateway
	for i := range 4 {
		gateways = append(gateways, newGateway(t, "", fmt.Sprint("gw", i)))
	}
	var all []Change
	for i := range 400 {
		g := gateways[random.IntN(len(gateways))]
		at := start.Add(time.Duration(random.IntN(5000)) * time.Millisecond)
		if list := g.List(at); len(list) > 0 && i%3 == 0 {
			g.end(t, at, list[random.IntN(len(list))].ID)
		} else {
			r := Request{Kind: []Kind{Block, Allow}[i%2], Network: fmt.Sprintf("203.0.113.%d", random.IntN(6)), For: []string{"1s", "forever"}[random.IntN(2)], By: fmt.Sprint(i)}
			decide(t, g.Store, at, r)
		}
		all = append(all, g.take(t)...)
		if i%7 == 0 {
			gateways[random.IntN(len(gateways))].apply(t, at, all[random.IntN(len(all))])
		}
	}
	at := start.Add(10 * time.Second)
	for _, g := range gateways {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		g.apply(t, at, all[:len(all)/2]...)
		g.apply(t, at, all[len(all)/3:]...)
		g.apply(t, at, all...)
	}
	for _, g := range gateways[1:] {
		if got, want := g.List(at), gateways[0].List(at); len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
}

func TestJoin(t *testing.T) {
	a, b := newGateway(t, "", "a"), newGateway(t, "", "b")
	done := decide(t, a.Store, start, request("203.0.113.7"))
	ended := decide(t, a.Store, start, request("203.0.113.8"))
	late := a.take(t)[1]
	a.end(t, start.Add(time.Second), ended.Decision.ID)
	decide(t, b.Store, start, request("203.0.113.9"))
	b.take(t)
	snapshot, err := a.ExportShared(start)
	if err != nil {
		t.Fatal(err)
	}
	applied, err := b.MergeShared(start, snapshot)
	if err != nil || len(applied) != 1 || applied[0].Decision != done.Decision || len(b.List(start)) != 2 {
		t.Errorf("got %v, %v, %v in force", applied, err, b.List(start))
	}
	if n := b.apply(t, start, late); n != 0 {
		t.Error("a decision that has ended was brought back")
	}
	missing := b.take(t)
	if len(missing) != 1 || missing[0].Decision.Network != netip.MustParsePrefix("203.0.113.9/32") || a.apply(t, start, missing...) != 1 {
		t.Errorf("got %+v sent, want what the other did not have", missing)
	}
	if snapshot, err = a.ExportShared(start); err != nil {
		t.Fatal(err)
	}
	if applied, err := b.MergeShared(start, snapshot); len(applied) != 0 || err != nil || len(b.sent) != 0 || !slices.Equal(a.List(start), b.List(start)) {
		t.Errorf("again: got %v, %v, sent %v", applied, err, b.sent)
	}
	if _, err := b.MergeShared(start, nil); err != nil || len(b.sent) != 1 {
		t.Errorf("without a snapshot: got %v, %v sent, want all of its own", err, b.sent)
	}
	for _, wrong := range []string{"", "{}", `[{"decision":{"id":"a","kind":"observe","made":"2026-03-29T12:00:00Z","by":"x"},"at":"2026-03-29T12:00:00Z","gateway":"a"}]`} {
		if _, err := b.MergeShared(start, []byte(wrong)); err == nil {
			t.Errorf("%q was merged", wrong)
		}
	}
}

// The file of decisions is one that former versions can read. What it does not have is in the other file.
func TestSharedDecisionsOutliveRestart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, File)
	before := New(path)
	old := decide(t, before, start, request("203.0.113.1"))
	a, b := newGateway(t, path, "a"), newGateway(t, "", "b")
	decide(t, b.Store, start, request("203.0.113.2"))
	gone := decide(t, b.Store, start, request("203.0.113.3"))
	fromB := b.take(t)
	a.apply(t, start, fromB...)
	a.end(t, start.Add(time.Second), gone.Decision.ID)
	want := a.List(start)
	again := newGateway(t, path, "a")
	if got := again.List(start); len(got) != 2 || !slices.Equal(got, want) || got[1].Gateway+got[0].Gateway != "ab" && got[0].Gateway+got[1].Gateway != "ab" {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n := again.apply(t, start, fromB...); n != 0 {
		t.Error("an older change has an effect after a restart")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var fields []map[string]any
	if err := json.Unmarshal(data, &fields); err != nil || len(fields) != 2 || fields[0]["gateway"] != nil {
		t.Errorf("got %v, %s", err, data)
	}
	if err := os.WriteFile(filepath.Join(dir, SharedFile), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := New(path)
	if err := damaged.Load(start); err != nil {
		t.Fatal(err)
	}
	if err := damaged.Share(start, "a", func(t time.Time) time.Time { return t }, func(Change) {}); err == nil || len(damaged.List(start)) != 2 {
		t.Errorf("a damaged file: got %v, %v in force", err, damaged.List(start))
	}
	if _, _, err := damaged.End(start, old.Decision.ID, "bo"); err != nil {
		t.Error(err)
	}
}

// A process that ended between the two files does not bring back what has ended.
func TestRestartBetweenFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	a := newGateway(t, path, "a")
	done := decide(t, a.Store, start, request("203.0.113.1"))
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a.end(t, start.Add(time.Second), done.Decision.ID)
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	if again := newGateway(t, path, "a"); len(again.List(start)) != 0 {
		t.Errorf("got %v in force", again.List(start))
	}
}

func TestEndedDecisionsAreForgotten(t *testing.T) {
	a, b := newGateway(t, "", "a"), newGateway(t, "", "b")
	done := decide(t, b.Store, start, Request{Kind: Block, Network: "203.0.113.7", For: "forever", By: "bo"})
	made := b.take(t)
	a.apply(t, start, made...)
	a.end(t, start, done.Decision.ID)
	decide(t, a.Store, start, request("203.0.113.9")) // ends by time
	at := start.Add(keepEnded + time.Minute)
	if a.apply(t, at.Add(-2*time.Minute), made...) != 0 {
		t.Error("forgotten too early")
	}
	if over, err := a.Expire(at); len(over) != 1 || err != nil || len(a.shared.latest) != 1 {
		t.Errorf("got %v, %v over and %v remembered", over, err, a.shared.latest)
	}
	for i := range Max + 10 {
		network := netip.PrefixFrom(netip.AddrFrom4([4]byte{45, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		a.shared.latest[topic{Block, network}] = Change{Decision: Decision{Kind: Block, Network: network}, At: at.Add(time.Duration(i)), Ended: true}
	}
	a.shared.forget(at)
	if _, found := a.shared.latest[topic{Block, netip.MustParsePrefix("45.0.0.9/32")}]; found || len(a.shared.latest) != Max {
		t.Errorf("got %d remembered, want the latest %d", len(a.shared.latest), Max)
	}
}

func TestWrongChanges(t *testing.T) {
	a, b := newGateway(t, "", "a"), newGateway(t, "", "b")
	decide(t, a.Store, start.Add(25*time.Hour), request("203.0.113.7"))
	if applied, err := b.Apply(start, a.take(t)...); err == nil || len(applied) != 0 {
		t.Errorf("a day ahead: got %v, %v", applied, err)
	}
	decide(t, a.Store, start, request("203.0.113.8"))
	good := a.take(t)[0]
	b.Freeze(true)
	if _, err := b.Apply(start, good); !errors.Is(err, ErrHandOver) {
		t.Errorf("got %v while frozen", err)
	}
	b.Freeze(false)
	for i := range Max {
		b.all = append(b.all, Decision{ID: fmt.Sprint(i), Kind: Observe})
	}
	if _, err := b.Apply(start, good); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want %v", err, ErrFull)
	}
	if _, err := New("").Apply(start, good); err == nil {
		t.Error("a store that does not share has applied a change")
	}
	for name, change := range map[string]func(*Change){
		"kind": func(c *Change) { c.Decision.Kind = Observe }, "network": func(c *Change) { c.Decision.Network = netip.Prefix{} },
		"no gateway": func(c *Change) { c.Gateway = "" }, "gateway": func(c *Change) { c.Gateway = "a\x1b" }, "time": func(c *Change) { c.At = c.At.Add(time.Nanosecond) },
		"ended by": func(c *Change) { c.EndedBy = "a\nb" }, "gateway of decision": func(c *Change) { c.Decision.Gateway = "a\nb" },
	} {
		wrong := good
		change(&wrong)
		data, err := json.Marshal(wrong)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseChange(data); err == nil {
			t.Errorf("%s: %s was read", name, data)
		}
	}
	if c, err := ParseChange([]byte(`{"decision":{"id":"a","kind":"allow","network":"::/0","made":"2026-03-29T12:00:00Z","by":"x","new":1},"at":"2026-03-29T12:00:00Z","gateway":"a","new":{}}`)); err != nil || c.Gateway != "a" {
		t.Errorf("with new fields: got %+v, %v", c, err)
	}
}

// FuzzMergeShared merges what it can export, and nothing else.
func FuzzMergeShared(f *testing.F) {
	f.Add([]byte(`[{"decision":{"id":"a","kind":"allow","network":"::/0","made":"2026-03-29T12:00:00Z","by":"x"},"at":"2026-03-29T12:00:00Z","gateway":"a"}]`))
	f.Add([]byte(`[{"decision":{"id":"a","kind":"block","network":"192.0.2.0/24","made":"2026-03-29T12:00:00Z","by":"x"},"at":"2026-03-29T12:00:00Z","gateway":"b","ended":true}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := newGateway(t, "", "a"), newGateway(t, "", "b")
		if _, err := a.MergeShared(start, data); err != nil {
			return
		}
		out, err := a.ExportShared(start)
		if err != nil {
			return // a year that JSON does not have
		}
		if _, err := b.MergeShared(start, out); err != nil || !slices.Equal(b.List(start), a.List(start)) {
			t.Errorf("got %v, %v for %s", err, b.List(start), out)
		}
	})
}
