package decisions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/limiter"
)

var start = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

// someGuard knows three users in 198.51.100.0/24 and cannot count in networks wider than /8.
func someGuard() *Guard {
	return &Guard{
		Named: map[string][]netip.Prefix{
			"EXEMPT": {netip.MustParsePrefix("192.0.2.80/32")}, "PROXY_FROM": {netip.MustParsePrefix("10.0.0.0/8")}, "a backend": {netip.MustParsePrefix("192.0.2.10/32")},
		},
		Users: func(_ time.Time, network netip.Prefix, within time.Duration) (int, bool) {
			users := netip.MustParsePrefix("198.51.100.0/24")
			switch {
			case within != 24*time.Hour:
				return 0, false
			case network.Addr().Is4() && network.Bits() < 8:
				return 0, false
			case network == netip.MustParsePrefix("198.51.100.7/32"):
				return 1, true
			case network.Overlaps(users):
				return 3, true
			}
			return 0, true
		},
	}
}

// request asks to block a network.
func request(network string) Request { return Request{Kind: Block, Network: network, By: "anna"} }

// decide makes a decision that must succeed.
func decide(t *testing.T, s *Store, at time.Time, r Request) Result {
	t.Helper()
	done, err := s.Decide(at, r, netip.Addr{}, someGuard())
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return done
}

func TestRequests(t *testing.T) {
	for name, c := range map[string]struct {
		request Request
		network string
		until   time.Duration // after start; 0 for none
		err     string
	}{
		"address":          {Request{Kind: Block, Network: "203.0.113.7", By: "anna"}, "203.0.113.7/32", time.Hour, ""},
		"network":          {Request{Kind: Block, Network: "203.0.113.0/24", For: "30m", By: "anna"}, "203.0.113.0/24", 30 * time.Minute, ""},
		"host bits":        {Request{Kind: Block, Network: "203.0.113.9/24", For: "7d", By: "anna"}, "203.0.113.0/24", 7 * 24 * time.Hour, ""},
		"IPv6 address":     {Request{Kind: Block, Network: "2001:db8:1:2::7", By: "anna"}, "2001:db8:1:2::/64", time.Hour, ""},
		"mapped address":   {Request{Kind: Block, Network: "::ffff:203.0.113.7", By: "anna"}, "203.0.113.7/32", time.Hour, ""},
		"mapped network":   {Request{Kind: Block, Network: "::ffff:203.0.113.0/120", By: "anna"}, "203.0.113.0/24", time.Hour, ""},
		"allow":            {Request{Kind: Allow, Network: "203.0.113.0/24", By: "anna"}, "203.0.113.0/24", 24 * time.Hour, ""},
		"allow forever":    {Request{Kind: Allow, Network: "203.0.113.0/24", For: "forever", By: "anna"}, "203.0.113.0/24", 0, ""},
		"observe":          {Request{Kind: Observe, By: "anna"}, "", time.Hour, ""},
		"a year":           {Request{Kind: Block, Network: "203.0.113.7", For: "366d", By: "anna"}, "203.0.113.7/32", 366 * 24 * time.Hour, ""},
		"nobody":           {Request{Kind: Block, Network: "203.0.113.7", By: " \n"}, "", 0, "by: got nothing, want the name of the operator"},
		"no network":       {Request{Kind: Block, By: "anna"}, "", 0, `network: got "", want an address or a network such as 192.0.2.0/24`},
		"a name":           {Request{Kind: Block, Network: "host.example", By: "anna"}, "", 0, `network: got "host.example", want`},
		"zone":             {Request{Kind: Block, Network: "fe80::1%eth0", By: "anna"}, "", 0, `network: got "fe80::1%eth0", want`},
		"mapped, too wide": {Request{Kind: Block, Network: "::ffff:0:0/90", By: "anna"}, "", 0, "want an IPv4 network as such"},
		"control":          {Request{Kind: Block, Network: "203.0.113.7\x1b[2J", By: "anna"}, "", 0, `network: got "203.0.113.7\x1b[2J", want`},
		"kind":             {Request{Kind: "ban", Network: "203.0.113.7", By: "anna"}, "", 0, `kind: got "ban", want block, allow, observe or enforce`},
		"observe network":  {Request{Kind: Observe, Network: "203.0.113.7", By: "anna"}, "", 0, `network: got "203.0.113.7", want none: observe is for all`},
		"observe long":     {Request{Kind: Observe, For: "25h", By: "anna"}, "", 0, `for: got "25h", want at most 1d`},
		"observe forever":  {Request{Kind: Observe, For: "forever", By: "anna"}, "", 0, `for: got "forever", want at most 1d: change POSTERN_MODE instead`},
		"too long":         {Request{Kind: Block, Network: "203.0.113.7", For: "367d", By: "anna"}, "", 0, `for: got "367d", want at most 366d`},
		"negative":         {Request{Kind: Block, Network: "203.0.113.7", For: "-1h", By: "anna"}, "", 0, `for: got "-1h", want a duration such as 30m, 8h or 7d`},
		"overflow":         {Request{Kind: Block, Network: "203.0.113.7", For: "99999999999999999999d", By: "anna"}, "", 0, "want a duration such as"},
		"many days":        {Request{Kind: Block, Network: "203.0.113.7", For: "9999999999d", By: "anna"}, "", 0, "want at most 366d"},
		"zero":             {Request{Kind: Block, Network: "203.0.113.7", For: "0s", By: "anna"}, "", 0, "want a duration such as"},
	} {
		t.Run(name, func(t *testing.T) {
			done, err := New("").Decide(start, c.request, netip.Addr{}, someGuard())
			if c.err != "" {
				var wrong RequestError
				if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got error %v, want RequestError with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := time.Time{}
			if c.until > 0 {
				want = start.Add(c.until)
			}
			network := ""
			if done.Decision.Network.IsValid() {
				network = done.Decision.Network.String()
			}
			if d := done.Decision; network != c.network || !d.Until.Equal(want) || d.By != "anna" || !d.Made.Equal(start) || len(d.ID) != 6 {
				t.Errorf("got %+v, want network %s until %v", d, c.network, want)
			}
		})
	}
}

// What an operator did not expect to hit needs force, and the reason says what it is.
func TestNeedsForce(t *testing.T) {
	own := netip.MustParseAddr("203.0.113.77")
	for name, c := range map[string]struct {
		request Request
		reason  string // empty: needs no force
		users   int
	}{
		"a stranger":        {request("203.0.113.7"), "", 0},
		"/16":               {request("45.1.0.0/16"), "", 0},
		"/15":               {request("45.0.0.0/15"), "it is wider than /16", 0},
		"everything":        {request("0.0.0.0/0"), "it is wider than /16; it has loopback addresses of the gateway itself; it has addresses of EXEMPT; it has addresses of PROXY_FROM; it has addresses of a backend; it has your own address 203.0.113.77; how many known users log in from there cannot be counted", 0},
		"IPv6 /32":          {request("2001:db8::/32"), "", 0},
		"IPv6 /31":          {request("2001:db8::/31"), "it is wider than /32", 0},
		"loopback":          {request("127.0.0.5"), "it has loopback addresses of the gateway itself", 0},
		"IPv6 loopback":     {request("::1"), "it has loopback addresses of the gateway itself", 0},
		"exempt":            {request("192.0.2.0/25"), "it has addresses of EXEMPT; it has addresses of a backend", 0},
		"a load balancer":   {request("10.2.3.4"), "it has addresses of PROXY_FROM", 0},
		"the operator":      {request("203.0.113.0/26"), "", 0},
		"the operator's":    {request("203.0.113.0/24"), "it has your own address 203.0.113.77", 0},
		"by ssh":            {Request{Kind: Block, Network: "203.0.113.5", By: "anna", From: "203.0.113.5"}, "it has your own address 203.0.113.5", 0},
		"a known user":      {request("198.51.100.7"), "1 known user has logged in from there in the last 24 h", 1},
		"known users":       {request("198.51.100.0/24"), "3 known users have logged in from there in the last 24 h", 3},
		"allow known users": {Request{Kind: Allow, Network: "198.51.100.0/24", By: "anna"}, "", 0},
		"allow all":         {Request{Kind: Allow, Network: "0.0.0.0/0", By: "anna"}, "it is wider than /16", 0},
		"observe":           {Request{Kind: Observe, By: "anna"}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := New("")
			_, err := s.Decide(start, c.request, own, someGuard())
			var needs NeedsForceError
			switch {
			case c.reason == "" && err != nil:
				t.Fatal(err)
			case c.reason == "":
				return
			case !errors.As(err, &needs):
				t.Fatalf("got %v, want a NeedsForceError", err)
			case !strings.HasSuffix(needs.Reason, ": "+c.reason) || needs.Users != c.users:
				t.Errorf("got %q and %d users, want %q and %d", needs.Reason, needs.Users, c.reason, c.users)
			}
			if len(s.List(start)) != 0 {
				t.Error("a decision is in force without force")
			}
			c.request.Force = true
			if done, err := s.Decide(start, c.request, own, someGuard()); err != nil || done.Users != c.users || len(s.List(start)) != 1 {
				t.Errorf("with force: got %+v, %v", done, err)
			}
		})
	}
}

func TestDecisionsEnd(t *testing.T) {
	s := New("")
	first := decide(t, s, start, request("203.0.113.7"))
	second := decide(t, s, start.Add(time.Second), Request{Kind: Allow, Network: "203.0.113.7", For: "forever", By: "bo"})
	if len(second.Warning) != 0 {
		t.Errorf("got warning %q", second.Warning)
	}
	again := decide(t, s, start.Add(2*time.Second), Request{Kind: Block, Network: "203.0.113.7", For: "2h", By: "cy"})
	if !again.Replaced || again.Warning != fmt.Sprintf("203.0.113.7/32 is allowed by decision %s, which wins", second.Decision.ID) {
		t.Errorf("got %+v, want the first decision replaced and a warning", again)
	}
	if _, _, err := s.End(start, first.Decision.ID, "bo"); !errors.Is(err, ErrNotFound) {
		t.Errorf("ending a replaced decision: got %v", err)
	}
	if over, err := s.Expire(start.Add(2 * time.Hour)); len(over) != 0 || err != nil {
		t.Errorf("got %v, %v over too early", over, err)
	}
	if list := s.List(start.Add(2*time.Hour + 2*time.Second)); len(list) != 1 || list[0].ID != second.Decision.ID {
		t.Errorf("got %v in force, want the one for ever", list)
	}
	if over, err := s.Expire(start.Add(2*time.Hour + 2*time.Second)); len(over) != 1 || over[0].ID != again.Decision.ID || err != nil {
		t.Errorf("got %v, %v over", over, err)
	}
	if ended, _, err := s.End(start, second.Decision.ID, "bo"); err != nil || ended.By != "bo" || len(s.List(start)) != 0 {
		t.Errorf("got %v, %v", ended, err)
	}
}

func TestLists(t *testing.T) {
	s := New("")
	decide(t, s, start, request("203.0.113.7"))
	decide(t, s, start, Request{Kind: Allow, Network: "203.0.113.0/24", By: "bo"})
	decide(t, s, start, Request{Kind: Observe, By: "bo"})
	want := limiter.Lists{Blocked: []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32")}, Allowed: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
	if got := s.Lists(start); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	want.Blocked = nil
	if got := s.Lists(start.Add(time.Hour)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("an hour later: got %v, want %v", got, want)
	}
	if d, ok := s.Mode(start); !ok || d.Kind != Observe {
		t.Errorf("got mode %v, %v", d, ok)
	}
	decide(t, s, start, Request{Kind: Enforce, By: "bo"})
	if d, ok := s.Mode(start); !ok || d.Kind != Enforce || len(s.List(start)) != 3 {
		t.Errorf("got mode %v, %v; want one at a time", d, ok)
	}
	if _, ok := s.Mode(start.Add(time.Hour)); ok {
		t.Error("a mode is in force after its end")
	}
}

func TestDecisionsOutliveRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	s := New(path)
	decide(t, s, start, request("203.0.113.7"))
	decide(t, s, start, Request{Kind: Allow, Network: "2001:db8::/48", For: "forever", By: "Åse", Comment: "the \"office\"\nin Oslo\u202e"})
	next := New(path)
	if err := next.Load(start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	list := next.List(start.Add(time.Hour))
	if len(list) != 1 || list[0].By != "Åse" || list[0].Comment != `the "office" in Oslo` {
		t.Errorf("got %+v, want the one that is not over", list)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
}

// A file that cannot be read is kept under another name.
func TestDamagedFile(t *testing.T) {
	good, _ := json.Marshal([]Decision{{ID: "abcdef", Kind: Block, Network: netip.MustParsePrefix("203.0.113.7/32"), Made: start, By: "anna"}})
	for name, content := range map[string]string{
		"empty": "", "half": string(good[:len(good)/2]), "kind": strings.Replace(string(good), "block", "bloc", 1), "network": strings.Replace(string(good), "/32", "/31", 1),
		"no network": strings.Replace(string(good), `"network":"203.0.113.7/32",`, "", 1), "field": strings.Replace(string(good), `"by"`, `"from"`, 1),
		"control": strings.Replace(string(good), "anna", `an\u001bna`, 1), "no id": strings.Replace(string(good), "abcdef", "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), File)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			s := New(path)
			if err := s.Load(start); err == nil || len(s.List(start)) != 0 {
				t.Fatalf("got %v and %v", err, s.List(start))
			}
			if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != content {
				t.Errorf("got %q, %v kept", kept, err)
			}
			decide(t, s, start, request("203.0.113.7"))
		})
	}
	if err := New(filepath.Join(t.TempDir(), File)).Load(start); err != nil {
		t.Errorf("without a file: %v", err)
	}
}

// A decision is in force although it cannot be saved, and the result says so. It is saved
// when that is possible again.
func TestCannotSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	s := New(filepath.Join(dir, File))
	done := decide(t, s, start, request("203.0.113.7"))
	if !strings.HasPrefix(done.Warning, "it holds only until the process ends: save the decisions: ") || len(s.List(start)) != 1 {
		t.Errorf("got %+v", done)
	}
	if _, notSaved, err := s.End(start, done.Decision.ID, "bo"); notSaved == nil || err != nil {
		t.Errorf("got %v, %v", notSaved, err)
	}
	decide(t, s, start, request("203.0.113.8"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if over, err := s.Expire(start); over != nil || err != nil {
		t.Errorf("got %v, %v", over, err)
	}
	again := New(filepath.Join(dir, File))
	if err := again.Load(start); err != nil || len(again.List(start)) != 1 {
		t.Errorf("got %v, %v after a restart, want the last decision", again.List(start), err)
	}
}

// What another process has handed over is saved, as it may not have been able to.
func TestSaveAfterHandOver(t *testing.T) {
	former := New("")
	decide(t, former, start, request("203.0.113.7"))
	data, err := former.Export()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), File)
	s, again := New(path), New(path)
	if err := s.Import(start, data); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Expire(start); err != nil {
		t.Fatal(err)
	}
	if err := again.Load(start); err != nil || len(again.List(start)) != 1 {
		t.Errorf("got %v, %v after a restart", again.List(start), err)
	}
}

func TestHandOver(t *testing.T) {
	s := New("")
	for i := range 3 {
		decide(t, s, start, request(fmt.Sprintf("203.0.113.%d", i)))
	}
	s.Freeze(true)
	data, err := s.Export()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Decide(start, request("203.0.113.9"), netip.Addr{}, someGuard()); !errors.Is(err, ErrHandOver) {
		t.Errorf("got %v while frozen", err)
	}
	if _, _, err := s.End(start, s.List(start)[0].ID, "bo"); !errors.Is(err, ErrHandOver) {
		t.Errorf("got %v while frozen", err)
	}
	if over, _ := s.Expire(start.Add(time.Hour)); over != nil {
		t.Errorf("got %v over while frozen", over)
	}
	next := New("")
	if err := next.Import(start, data); err != nil || !slices.Equal(next.List(start), s.List(start)) {
		t.Errorf("got %v and %v, want %v", err, next.List(start), s.List(start))
	}
	s.Freeze(false)
	decide(t, s, start, request("203.0.113.9"))
	if empty, err := New("").Export(); err != nil || !bytes.Equal(empty, []byte("[]")) {
		t.Errorf("got %q, %v of none", empty, err)
	}
}

func TestNoMoreThanMax(t *testing.T) {
	s := New("")
	s.all = make([]Decision, Max)
	for i := range s.all {
		s.all[i] = Decision{ID: fmt.Sprint(i), Kind: Block, Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{45, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Made: start, By: "anna"}
	}
	if _, err := s.Decide(start, request("203.0.113.9"), netip.Addr{}, someGuard()); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want %v", err, ErrFull)
	}
	if done := decide(t, s, start, request("45.0.0.7")); !done.Replaced {
		t.Error("a decision on the same network was not replaced")
	}
}

func TestTargets(t *testing.T) {
	for of, want := range map[string]string{
		"203.0.113.7": "203.0.113.7/32 ", "203.0.113.0/24": "203.0.113.0/24 ", "anna": "invalid Prefix anna", "anna@example.org": "invalid Prefix anna@example.org",
		"2001:db8::1": "2001:db8::/64 ", "": "of: got 0 octets", strings.Repeat("a", 8193): "of: got 8193 octets",
	} {
		network, account, err := (&Release{Of: of, By: "anna"}).Target()
		got := fmt.Sprint(network, " ", account)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%.20q: got %q, want %q", of, got, want)
		}
	}
	if err := (&Forget{Account: "203.0.113.7", By: "anna"}).Check(); err == nil {
		t.Error("an address was taken for an account")
	}
	if err := (&Forget{Account: "anna", By: "anna"}).Check(); err != nil {
		t.Error(err)
	}
}

// FuzzImport imports what it can export, and nothing else.
func FuzzImport(f *testing.F) {
	f.Add([]byte(`[{"id":"abcdef","kind":"block","network":"203.0.113.7/32","made":"2026-03-29T12:00:00Z","until":"2026-03-29T13:00:00Z","by":"anna"}]`))
	f.Add([]byte(`[{"id":"a","kind":"observe","made":"2026-03-29T12:00:00Z","by":"x","comment":"y"}]`))
	f.Add([]byte(`[{"id":"a","kind":"allow","network":"::ffff:1.2.3.4/128","made":"2026-03-29T12:00:00Z","by":"x"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, next := New(""), New("")
		if s.Import(start, data) != nil {
			return
		}
		out, err := s.Export()
		if err != nil {
			return // a year that JSON does not have
		}
		if err := next.Import(start, out); err != nil || len(next.List(start)) != len(s.List(start)) {
			t.Errorf("got %v for %s", err, out)
		}
		s.Lists(start)
	})
}
