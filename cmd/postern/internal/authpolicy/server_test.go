package authpolicy

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
	"postern/proxy"
)

// fixture is a Server with what it reports.
type fixture struct {
	*Server
	t       *testing.T
	limiter *limiter.Limiter

	mu       sync.Mutex
	attempts []proxy.Attempt
	counts   []string
}

// policy limits denials by source and by pair, and delays nothing for longer than 10 s.
func policy() limiter.Policy {
	return limiter.Policy{
		Source: limiter.Rate{Tokens: 3, Per: time.Hour}, Pair: limiter.Rate{Tokens: 3, Per: time.Hour},
		RepeatTTL: time.Minute, KnownTTL: 720 * time.Hour, WaitMax: 10 * time.Second, TableMax: 1000,
	}
}

// newFixture makes a Server under a policy, with a token if that is not empty.
func newFixture(t *testing.T, p limiter.Policy, token string) *fixture {
	t.Helper()
	l, err := limiter.New(p, limiter.Key{})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, limiter: l}
	f.Server = New(Gateway{
		Server:  &proxy.Server{Limiter: l, TarpitMax: p.WaitMax, Tarpit: proxy.TarpitLimits{Source: 2}, Settled: f.settled},
		Limiter: l, Log: eventlog.New(io.Discard, "text", slog.LevelInfo), Served: []string{"imap"}, Token: token,
		Count: func(command, result string) { f.counts = append(f.counts, command+" "+result) },
	})
	return f
}

func (f *fixture) settled(a proxy.Attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempts = append(f.attempts, a)
}

// post sends a request and returns the code and the body of the answer.
func (f *fixture) post(path, body string, header ...string) (int, string) {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// ask is the status in the answer to allow.
func (f *fixture) ask(q request) int {
	f.t.Helper()
	_, body := f.post("/?command=allow", encode(q))
	var d decision
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		f.t.Fatalf("got %q: %v", body, err)
	}
	return d.Status
}

// tell reports what came of a login.
func (f *fixture) tell(q request, success bool) {
	f.t.Helper()
	q.Success = success
	if code, body := f.post("/?command=report", encode(q)); code != http.StatusOK || body != `{"status":"ok"}` {
		f.t.Fatalf("got %d %q", code, body)
	}
}

// counted returns the requests that were counted since it was last called.
func (f *fixture) counted() string {
	defer func() { f.counts = nil }()
	return strings.Join(f.counts, ", ")
}

// reported returns the outcomes of the logins that were reported since it was last called.
func (f *fixture) reported() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, a := range f.attempts {
		all = append(all, eventlog.Result(a))
	}
	f.attempts = nil
	return strings.Join(all, ", ")
}

func encode(q request) string {
	text, _ := json.Marshal(q)
	return string(text)
}

// from is a login to submission with a password whose digest is hash.
func from(remote, hash string) request {
	return request{Login: "kari", Remote: remote, Protocol: "smtp", Hash: hash, Mech: "PLAIN"}
}

// check compares what a test got.
func (f *fixture) check(what string, got, want any) {
	f.t.Helper()
	if got != want {
		f.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestRequestsThatAreNotCounted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path, body string
		code       int
		answer     string
		count      string
	}{
		"served here":      {"/?command=allow", `{"login":"a","remote":"192.0.2.1","protocol":"imap","pwhash":"01"}`, 200, `{"status":0,"msg":""}`, "allow ignored"},
		"served, reported": {"/?command=report", `{"login":"a","remote":"192.0.2.1","protocol":"imap","success":false}`, 200, `{"status":"ok"}`, "report ignored"},
		"no address":       {"/allow", `{"login":"a","remote":"","protocol":"doveadm"}`, 200, `{"status":0,"msg":""}`, "allow ignored"},
		"bad address":      {"/allow", `{"login":"a","remote":"host","protocol":"smtp"}`, 400, `{"status":"failure","reason":"want an IP address as remote"}`, "allow invalid"},
		"no JSON":          {"/allow", `x`, 400, "", "allow invalid"},
		"other type":       {"/allow", `{"login":7}`, 400, "", "allow invalid"},
		"too long":         {"/allow", `{"login":"` + strings.Repeat("x", bodyMax) + `"}`, 400, "", "allow invalid"},
		"no command":       {"/", `{}`, 400, `{"status":"failure","reason":"want the command allow or report"}`, "other invalid"},
		"other command":    {"/?command=reset", `{}`, 400, `{"status":"failure","reason":"want the command allow or report"}`, "other invalid"},
		"ping":             {"/?command=ping", ``, 200, `{"status":"ok"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, policy(), "")
			code, answer := f.post(tc.path, tc.body)
			f.check("code", code, tc.code)
			if tc.answer != "" {
				f.check("answer", answer, tc.answer)
			}
			f.check("count", f.counted(), tc.count)
			f.check("logins", f.reported(), "")
		})
	}
}

func TestTokenIsRequired(t *testing.T) {
	t.Parallel()
	const token = "token-0123456789abcdef"
	for name, tc := range map[string]struct {
		header []string
		code   int
	}{
		"none":         {nil, 401},
		"wrong":        {[]string{"X-API-Key", token + "x"}, 401},
		"empty":        {[]string{"X-API-Key", ""}, 401},
		"bearer":       {[]string{"Authorization", "Bearer " + token}, 200},
		"key":          {[]string{"X-API-Key", " " + token}, 200},
		"basic":        {[]string{"Authorization", "Basic d2ZvcmNlOnRva2VuLTAxMjM0NTY3ODlhYmNkZWY="}, 200},
		"basic, wrong": {[]string{"Authorization", "Basic d2ZvcmNlOng="}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, policy(), token)
			code, _ := f.post("/?command=allow", encode(from("192.0.2.1", "01")), tc.header...)
			f.check("code", code, tc.code)
		})
	}
}

func TestDenialsDelayAndRefuse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, policy(), "")
		defer f.Close()
		for n := range 3 {
			q := from("192.0.2.1", fmt.Sprint(n))
			status := f.ask(q)
			if delayed := status > 0; status < 0 || delayed != (n > 0) || status > 10 {
				t.Errorf("guess %d: got %d", n, status)
			}
			if status > 0 {
				<-time.After(time.Duration(status) * time.Second)
			}
			f.tell(q, false)
		}
		f.check("counts", f.counted(), "allow pass, report recorded, allow delay, report recorded, allow delay, report recorded")
		f.check("guess 3", f.ask(from("192.0.2.1", "3")), -1)
		f.tell(request{Login: "kari", Remote: "192.0.2.1", Protocol: "smtp", Hash: "3", Mech: "PLAIN", Refused: true}, false)
		f.check("counts", f.counted(), "allow refuse, report ignored")
		f.check("logins", f.reported(), "denied, denied, denied, refused")
		f.check("another source", f.ask(from("198.51.100.1", "9")), 0)
		f.check("pending", f.Pending(), 1)
	})
}

// Who is known from an address is not refused because of guesses from elsewhere.
func TestAcceptedLoginMakesKnown(t *testing.T) {
	t.Parallel()
	p := policy()
	p.Account = limiter.Rate{Tokens: 1, Per: time.Hour}
	f := newFixture(t, p, "")
	home := from("192.0.2.1", "a")
	f.check("first login", f.ask(home), 0)
	f.tell(home, true)
	guess := from("198.51.100.1", "b")
	f.check("guess", f.ask(guess), 0)
	f.tell(guess, false)
	f.check("stranger", f.ask(from("203.0.113.1", "a")), -1)
	f.check("user", f.ask(home), 0)
	f.tell(home, true)
	f.check("logins", f.reported(), "accepted, denied, refused, accepted")
}

func TestRepeatIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, policy(), "")
	q := from("192.0.2.1", "a")
	f.ask(q)
	f.tell(q, false)
	f.check("again", f.ask(q), -1)
	f.check("logins", f.reported(), "denied, repeat")
}

// A mechanism that hides the password has the same digest for all of them.
func TestHiddenPasswordIsNoRepeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, policy(), "")
		q := from("192.0.2.1", "a")
		q.Mech = "scram-sha-256"
		f.ask(q)
		f.tell(q, false)
		if got := f.ask(q); got < 0 {
			t.Errorf("got %d", got)
		}
		f.Close()
	})
}

// The second question about a login, after its password was accepted, is part of it. A third
// one is another login.
func TestQuestionAfterLogin(t *testing.T) {
	t.Parallel()
	p := policy()
	p.Source.Tokens, p.Pair.Tokens = 100, 100
	f := newFixture(t, p, "")
	q := from("192.0.2.1", "a")
	f.ask(q)
	f.ask(q)
	f.check("pending", f.Pending(), 1)
	f.ask(q)
	f.check("pending", f.Pending(), 2)
	f.tell(q, true)
	f.tell(q, true)
	f.check("pending", f.Pending(), 0)
	f.check("logins", f.reported(), "accepted, accepted")
}

func TestLoginWithoutReportIsVoid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, policy(), "")
		for n := range 3 {
			f.ask(from("192.0.2.1", fmt.Sprint(n)))
			<-time.After(pendingTime + time.Second)
		}
		synctest.Wait()
		f.check("pending", f.Pending(), 0)
		f.check("logins", f.reported(), "void, void, void")
	})
}

// Without a token of the global bucket, a stranger is refused after a second, and a known user
// is delayed.
func TestGlobalBucketIsEmpty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := policy()
		p.Global = limiter.Rate{Tokens: 1, Per: 4 * time.Second}
		f := newFixture(t, p, "")
		home := from("192.0.2.1", "a")
		f.check("first login", f.ask(home), 0)
		f.tell(home, true)
		begin := time.Now()
		f.check("stranger", f.ask(from("198.51.100.1", "b")), -1)
		if took := time.Since(begin); took > 1500*time.Millisecond {
			t.Errorf("the answer took %v", took)
		}
		if got := f.ask(home); got < 1 || got > 10 {
			t.Errorf("user: got %d, want a delay", got)
		}
		f.Close()
		<-time.After(time.Minute)
	})
}

func TestTarpitIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := policy()
		p.Source.Tokens, p.Pair.Tokens = 100, 100
		f := newFixture(t, p, "")
		for n := range 20 {
			q := from("192.0.2.1", fmt.Sprint(n))
			f.ask(q)
			f.tell(q, false)
		}
		f.reported()
		delayed := 0
		for n := range 5 {
			if f.ask(from("192.0.2.1", fmt.Sprint("x", n))) > 0 {
				delayed++
			}
		}
		f.check("delayed at once", delayed, 2)
		<-time.After(20 * time.Second)
		if got := f.ask(from("192.0.2.1", "y")); got <= 0 {
			t.Errorf("after the delays: got %d, want a delay", got)
		}
		f.Close()
	})
}

func TestObserveAllowsEverything(t *testing.T) {
	t.Parallel()
	f := newFixture(t, policy(), "")
	f.gateway.Server.Observe(true)
	for n := range 6 {
		q := from("192.0.2.1", fmt.Sprint(n))
		f.check("status", f.ask(q), 0)
		f.tell(q, false)
	}
}

func TestFullTableSettlesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, policy(), "")
	f.pending.number = pendingMax
	q := from("192.0.2.1", "a")
	f.check("status", f.ask(q), 0)
	f.check("logins", f.reported(), "void")
	f.tell(q, false)
	f.check("logins", f.reported(), "denied")
}

// FuzzRequest answers each body without a panic, and keeps nothing pending of those that are
// invalid.
func FuzzRequest(f *testing.F) {
	f.Add("/?command=allow", `{"login":"kari","remote":"192.0.2.1","protocol":"smtp","pwhash":"0f1","tls":true}`)
	f.Add("/report", `{"login":"kari","remote":"::ffff:192.0.2.1","protocol":"sieve","success":true,"policy_reject":false}`)
	f.Add("/?command=allow", `{"login":"\u0000","remote":"fe80::1%eth0","attrs":{"a":["b"]}}`)
	f.Add("/?command=report", `{"success":"yes"}`)
	f.Add("/allow?command=ping", `{}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(path, "?")
		x := newFixture(t, policy(), "")
		defer x.Close()
		w := httptest.NewRecorder()
		x.ServeHTTP(w, r)
		var answer map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer["status"] == nil {
			t.Errorf("got %q", w.Body)
		}
		if w.Code != http.StatusOK && x.Pending() > 0 {
			t.Errorf("got %d and %d pending", w.Code, x.Pending())
		}
	})
}
