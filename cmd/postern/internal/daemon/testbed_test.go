package daemon

import (
	"io"
	"net/http"
	"net/netip"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/testbed"
)

// prefix begins the names of settings.
const prefix = config.Prefix

// testClient is a client of attempts that did not happen.
var testClient = netip.MustParseAddrPort("192.0.2.7:50001")

// gateway is a Daemon under test with what is around it.
type gateway struct {
	*Daemon
	*testbed.Site
	log *testbed.Log
}

// read reads the settings again, as SIGHUP does.
func (g *gateway) read() (config.Config, error) { return config.Load(g.Environ) }

// start runs a gateway. Settings in more come on top.
func start(t testing.TB, more ...string) *gateway {
	t.Helper()
	g := &gateway{Site: testbed.NewSite(t, more...), log: testbed.NewLog()}
	c, err := g.read()
	if err != nil {
		t.Fatal(err)
	}
	if g.Daemon, err = open(c, eventlog.New(g.log, string(c.Log.Format), c.Log.SlogLevel()), Build{Version: "test"}, inherited{environ: g.Environ}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	g.start()
	return g
}

// dial connects to a TLS listener and reads the greeting.
func (g *gateway) dial(t *testing.T, listener string) *testbed.Client {
	t.Helper()
	return testbed.DialTLS(t, g.Addr(listener), g.Certificate.Client())
}

// connect connects to a listener without TLS.
func (g *gateway) connect(t *testing.T, listener string) *testbed.Client {
	t.Helper()
	return testbed.Dial(t, g.Addr(listener))
}

// scrape reads the metrics.
func (g *gateway) scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	return testbed.Scrape(t, g.metrics.Handler())
}

// fetchAnswer sends a request and returns the status and the body of the answer.
func fetchAnswer(t *testing.T, q *http.Request) (status int, body []byte) {
	t.Helper()
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err = io.ReadAll(r.Body); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, body
}
