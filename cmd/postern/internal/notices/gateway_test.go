package notices_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"postern/cmd/postern/internal/daemon"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/geoip"
	"postern/cmd/postern/internal/notices"
	"postern/cmd/postern/internal/notify"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
	"postern/proxy/standin"
)

// secret signs the requests.
const secret = "0123456789abcdef0123456789abcdef"

// batch is what the receiver gets, as an operator would parse it.
type batch struct {
	Version int
	Gateway string
	Dropped int
	Notices []notify.Notice
}

// newReceiver starts a webhook that requires signed requests and passes on what it gets.
func newReceiver(t *testing.T) (url string, batches <-chan batch) {
	t.Helper()
	got := make(chan batch, 16)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(text)))
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.Header.Get("webhook-signature") != want {
			t.Errorf("signature: got %q, want %q", r.Header.Get("webhook-signature"), want)
		}
		var b batch
		if err := json.Unmarshal(text, &b); err != nil {
			t.Errorf("%v in %s", err, text)
		}
		got <- b
	}))
	t.Cleanup(s.Close)
	return s.URL + "/hook", got
}

// site is a gateway whose clients come from any address, and a mail server whose password
// may change.
type site struct {
	*daemon.Daemon
	t       *testing.T
	backend string
	server  *standin.Server
}

// serve starts the mail server, in place of the former one, with this password.
func (s *site) serve(password string) {
	s.t.Helper()
	if s.server != nil {
		s.server.Close()
	}
	ln, err := net.Listen("tcp", s.backend)
	if err != nil {
		s.t.Fatal(err)
	}
	s.backend = ln.Addr().String()
	if s.server, err = standin.ServeIMAP(ln, []standin.Account{{Name: "anna@example.org", Secret: password}}, standin.Options{ProxyHeader: true}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.server.Close() })
}

// login logs in from an address and requires a reply.
func (s *site) login(from, account, password, reply string) {
	s.t.Helper()
	loginAt(s.t, s.Addr("imap"), from, account, password, reply)
}

// loginAt logs in from an address at an IMAP listener, behind a balancer.
func loginAt(t *testing.T, listener, from, account, password, reply string) {
	t.Helper()
	c := testbed.Dial(t, listener)
	defer c.Close()
	fmt.Fprintf(c.W, "PROXY TCP4 %s 192.0.2.1 40000 143\r\n", from)
	c.W.Flush()
	c.Until("* OK")
	c.Say("a LOGIN "+account+" "+password, "a "+reply)
}

// run runs a gateway until the test ends.
func (s *site) run(environ []string) {
	s.t.Helper()
	log := testbed.NewLog()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan *daemon.Daemon), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Environ: environ, Log: log, Ready: func(d *daemon.Daemon) { ready <- d }})
	}()
	select {
	case s.Daemon = <-ready:
	case err := <-ended:
		s.t.Fatalf("%v\n%s", err, log)
	}
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
}

// learned makes a state directory in which anna has logged in from Norway for days, and a
// program at another place has tried a former password of hers twice, an hour ago.
func learned(t *testing.T, countries, systems string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	var key limiter.Key
	copy(key[:], "an install key for the tests only")
	if err := os.WriteFile(filepath.Join(dir, "install-key"), key[:], 0o600); err != nil {
		t.Fatal(err)
	}
	c := notices.Config{
		Path: filepath.Join(dir, "notices"), Key: daemon.NoticesKey(key), Kinds: notify.NoticeKinds(), Max: 1000,
		Log: eventlog.New(testbed.NewLog(), "text", 0).Logger,
	}
	var err error
	if c.Countries, err = geoip.Open(countries); err != nil {
		t.Fatal(err)
	}
	if c.Systems, err = geoip.Open(systems); err != nil {
		t.Fatal(err)
	}
	m, err := notices.New(time.Now(), c)
	if err != nil {
		t.Fatal(err)
	}
	home, elsewhere := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("198.51.100.7")
	m.Attempt(time.Now().Add(-48*time.Hour), notices.Attempt{Addr: home, Account: "Anna@example.org", Accepted: true})
	for range 2 {
		m.Attempt(time.Now().Add(-time.Hour), notices.Attempt{Addr: elsewhere, Account: "anna@example.org", Denied: true, Former: true})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.Run(ctx)
	return dir
}

// TestGatewaySendsNotices runs a whole gateway in front of a mail server whose password
// changes. Clients log in from home, from a country that is new, with a password that is
// old, and from a network that guesses.
func TestGatewaySendsNotices(t *testing.T) {
	t.Parallel()
	url, batches := newReceiver(t)
	countries, systems := notices.CountryFile(t), notices.SystemFile(t)
	s := &site{t: t, backend: "127.0.0.1:0"}
	s.serve("first")
	s.run(testbed.NewSite(t, "POSTERN_IMAP_BACKENDS="+s.backend, "POSTERN_PROXY_FROM=127.0.0.0/8", "POSTERN_CLEARTEXT_LOGIN=true", "POSTERN_DRAIN=1ms",
		"POSTERN_STATE_DIR="+learned(t, countries, systems), "POSTERN_GATEWAY=mx1", "POSTERN_TARPIT_MAX=10ms", "POSTERN_LIMIT_SOURCE=off",
		"POSTERN_NOTICE_URL="+url, "POSTERN_NOTICE_SECRET_FILE="+testbed.WriteFile(t, secret+"\n"),
		"POSTERN_COUNTRY_FILE="+countries, "POSTERN_ASN_FILE="+systems).Environ)

	s.login("203.0.113.100", "anna@example.org", "first", "OK")
	s.login("198.51.100.7", "anna@example.org", "first", "OK")
	first := <-batches
	if first.Version != 1 || first.Gateway != "mx1" || first.Dropped != 0 || len(first.Notices) != 1 {
		t.Fatalf("got %+v, want one notice of the first version, by mx1", first)
	}
	n := first.Notices[0]
	if n.Kind != notify.NewCountry || n.Account != "anna@example.org" || n.Protocol != "imap" || n.Source.String() != "198.51.100.7" ||
		n.Network.String() != "198.51.100.0/24" || n.UsualPlace || n.Country != "BR" || *n.Operator != (notify.Operator{Number: 64497, Name: "Rede Exemplo"}) ||
		!slices.Equal(n.PastCountries, []string{"NO"}) {
		t.Errorf("got %+v, want anna's first login from Brazil", n)
	}

	s.serve("second")
	s.login("203.0.113.5", "anna@example.org", "second", "OK")
	s.login("198.51.100.7", "anna@example.org", "first", "NO")
	for i := range 10 {
		s.login("192.0.2.66", fmt.Sprintf("user%d@example.org", i), "guess", "NO")
	}
	s.login("192.0.2.77", "anna@example.org", "second", "OK")
	var rest []notify.Notice
	for len(rest) < 2 {
		rest = append(rest, (<-batches).Notices...)
	}
	n = rest[0]
	if n.Kind != notify.OldPassword || n.Account != "anna@example.org" || n.Tries != 3 || time.Since(n.First) < 59*time.Minute || !n.UsualPlace || n.Source.String() != "198.51.100.7" {
		t.Errorf("got %+v, want the third try of the old password in an hour", n)
	}
	n = rest[1]
	if n.Kind != notify.AttackingNetwork || n.Account != "anna@example.org" || n.DeniedLogins != 10 || n.DeniedAccounts < 5 || n.Source.String() != "192.0.2.77" || n.Country != "" {
		t.Errorf("got %+v, want anna's login from the network that guesses", n)
	}
	if len(rest) > 2 {
		t.Errorf("got more notices: %+v", rest[2:])
	}
}
