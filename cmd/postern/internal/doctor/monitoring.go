package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/geoip"
)

// httpMax bounds one request, and bodyMax how much of an answer is read, in octets.
const (
	httpMax = 8 * time.Second
	bodyMax = 8 << 20
)

// checkAdmin checks whether the running gateway answers, is ready, accepts the token and
// has failed to do something.
func (e *examination) checkAdmin(ctx context.Context) (found []Finding) {
	check := "admin API " + string(e.config.Admin.Listen)
	switch {
	case e.config.Admin.Listen == "":
		return []Finding{warning("admin API", "disabled: no command reaches the running postern", "set "+config.Prefix+"ADMIN_LISTEN, such as 127.0.0.1:9143 or unix:/run/postern/admin")}
	case e.running == nil:
		return []Finding{warning(check, fmt.Sprintf("postern does not run, or not with these settings: %v", e.noAnswer),
			"start it (`systemctl start postern`) and see its log (`journalctl -u postern`), or give this command the settings of the running one")}
	}
	if e.running.Unready != "" {
		found = append(found, failure(check, "postern is not ready: "+e.running.Unready, "see the lines about backends here, and the log"))
	} else {
		found = append(found, ok(check, "answers, postern is ready"))
	}
	if b := e.running.Backends; b.Up < b.All {
		found = append(found, failure(check, fmt.Sprintf("the running postern finds %d of %d backends down", b.All-b.Up, b.All), "see the lines about backends here; its log has the reason in the lines with event=backend"))
	}
	for _, f := range e.running.Failures {
		found = append(found, warning(check, "the running postern reports: "+f, "see the lines about receivers and status page here"))
	}
	return append(found, e.checkToken(ctx))
}

// checkTokenFiles warns of files with tokens that every user of the machine can read.
func (e *examination) checkTokenFiles(context.Context) (found []Finding) {
	adminFile, _ := e.config.TokenFile()
	for _, f := range []struct{ setting, path string }{
		{"ADMIN_TOKEN_FILE", adminFile}, {"ADMIN_READ_TOKEN_FILE", e.config.ReadTokenFile()}, {"POLICY_TOKEN_FILE", string(e.config.Policy.PolicyToken)},
	} {
		info, err := os.Stat(f.path)
		if err != nil || info.Mode().Perm()&0o007 == 0 { // a file that is absent is another check's
			continue
		}
		found = append(found, warning("token file "+f.path, fmt.Sprintf("in %s, has mode %04o: every user of this machine can use the token", config.Prefix+f.setting, info.Mode().Perm()), "chmod o= "+f.path))
	}
	return found
}

// checkToken asks for something that only operators get.
func (e *examination) checkToken(ctx context.Context) Finding {
	const check = "admin token"
	path, _ := e.config.TokenFile()
	if path == "" && !e.config.Admin.Listen.IsSocket() {
		return warning(check, "there is none, so no command can change anything", "set "+config.Prefix+"STATE_DIR or "+config.Prefix+"ADMIN_TOKEN_FILE, or a Unix socket for "+config.Prefix+"ADMIN_LISTEN")
	}
	client, err := admin.NewOperatorClient(e.config, nil, httpMax)
	if err != nil {
		return failure(check, err.Error(), "run this command as root or as the user of postern, or set "+config.Prefix+"ADMIN_TOKEN_FILE to the file that the running postern has read")
	}
	if _, err := client.Get(ctx, admin.IncidentsPath); err != nil {
		return failure(check, "the running postern refuses it: "+err.Error(), "restart postern after a change of the file in "+config.Prefix+"ADMIN_TOKEN_FILE, or give this command the settings of the running one")
	}
	var session admin.Session
	if err := client.GetJSON(ctx, admin.SessionPath, &session); err == nil && session.Role == admin.ReaderRole {
		return warning(check, "this user can read only the one of "+config.Prefix+"ADMIN_READ_TOKEN_FILE, which changes nothing", "run this command as root or as the user of postern to check the other one")
	}
	return ok(check, "accepted")
}

// checkMetrics reads the metrics where Prometheus reads them.
func (e *examination) checkMetrics(ctx context.Context) (found []Finding) {
	if e.running == nil {
		return nil // checkAdmin says so
	}
	if client, err := e.client(httpMax); err == nil {
		text, err := client.Get(ctx, "/metrics")
		found = append(found, checkExposition("metrics at "+string(e.config.Admin.Listen), text, err))
	}
	addr := string(e.config.Admin.Metrics)
	if addr == "" {
		return found
	}
	check := "metrics at " + addr
	if path, isSocket := strings.CutPrefix(addr, "unix:"); isSocket {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			return append(found, failure(check, eventlog.WithoutAddr(err).Error(), "restart postern after a change of "+config.Prefix+"METRICS_LISTEN"))
		}
		c.Close()
		return append(found, ok(check, "accepts connections"))
	}
	answer, err := get(ctx, "http://"+target(addr)+"/metrics")
	return append(found, checkExposition(check, answer.body, err))
}

// checkExposition parses metrics as Prometheus does.
func checkExposition(check string, text []byte, err error) Finding {
	const remedy = "restart postern after a change of " + config.Prefix + "METRICS_LISTEN, and see that no other program answers there"
	if err != nil {
		return failure(check, err.Error(), remedy)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return failure(check, "cannot be parsed: "+err.Error(), remedy)
	}
	own := 0
	for name := range families {
		if strings.HasPrefix(name, "postern_") {
			own++
		}
	}
	if own == 0 {
		return failure(check, "has no metric of postern", remedy)
	}
	return ok(check, "%d metrics of postern", own)
}

// checkReceivers checks Alertmanager, and whether webhooks can be connected to. Nothing is
// sent to webhooks: people read what arrives there.
func (e *examination) checkReceivers(ctx context.Context) (found []Finding) {
	i := e.config.Incidents
	if u := i.Alertmanager.URL(); u != nil {
		found = append(found, checkAlertmanager(ctx, u)...)
	}
	hooks := i.Hooks()
	for n, u := range hooks {
		check := fmt.Sprintf("webhook %d (%s)", n+1, u.Hostname())
		if err := connect(ctx, u); err != nil {
			found = append(found, failure(check, err.Error(), "correct "+config.Prefix+"WEBHOOK_URL, or open the firewall to it"))
			continue
		}
		found = append(found, ok(check, "resolves and accepts connections"))
	}
	found = append(found, e.checkNotices(ctx)...)
	if i.Alertmanager == "" && len(hooks) == 0 {
		found = append(found, warning("receivers", "postern alerts nobody itself", "set "+config.Prefix+"ALERTMANAGER_URL or "+config.Prefix+"WEBHOOK_URL, unless Prometheus alerts on its metrics"))
	}
	return found
}

// checkNotices checks what login notices need: a receiver that can be connected to, and the
// files.
func (e *examination) checkNotices(ctx context.Context) (found []Finding) {
	n := e.config.Notices
	u := n.URL.URL()
	if u == nil {
		return nil
	}
	check := "login notices to " + u.Hostname()
	if err := connect(ctx, u); err != nil {
		found = append(found, failure(check, err.Error(), "correct "+config.Prefix+"NOTICE_URL, or open the firewall to it"))
	} else {
		found = append(found, ok(check, "resolves and accepts connections"))
	}
	if _, err := n.Secret(); err != nil {
		found = append(found, failure(check, err.Error(), "correct the file, which the user of postern must be able to read"))
	}
	for setting, path := range map[string]string{"COUNTRY_FILE": string(n.CountryFile), "ASN_FILE": string(e.config.Incidents.ASNFile)} {
		if path == "" {
			continue
		}
		if _, err := geoip.Open(path); err != nil {
			found = append(found, failure(check, err.Error(), "correct "+config.Prefix+setting+", or download the file again"))
		}
	}
	return found
}

// checkAlertmanager asks Alertmanager whether it is ready.
func checkAlertmanager(ctx context.Context, base *url.URL) (found []Finding) {
	check := "Alertmanager " + base.Host
	const remedy = "start it, open the firewall to it, or correct " + config.Prefix + "ALERTMANAGER_URL"
	answer, err := get(ctx, base.JoinPath("-/ready").String())
	if errors.Is(err, errNotFound) { // behind a proxy that passes the API only
		answer, err = get(ctx, base.JoinPath("api/v2/status").String())
	}
	if err != nil {
		return []Finding{failure(check, err.Error(), remedy)}
	}
	return append([]Finding{ok(check, "ready")}, compareClock(base.Host, answer)...)
}

// connect opens a connection to the host of u, inside TLS for https, and closes it.
func connect(ctx context.Context, u *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, httpMax)
	defer cancel()
	port := u.Port()
	if port == "" {
		port = u.Scheme // its name is that of the service
	}
	addr := net.JoinHostPort(u.Hostname(), port)
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if u.Scheme != "https" {
		return nil
	}
	return handshake(ctx, c, u.Hostname())
}

// errNotFound is the status 404.
var errNotFound = errors.New("got status 404")

// answer is the answer to an HTTP request.
type answer struct {
	body []byte
	date time.Time // of the server's clock, zero without
	got  time.Time // by this clock
}

// get requests url. A status other than 200 is an error.
func get(ctx context.Context, url string) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, httpMax)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return a, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	a.got = time.Now()
	a.date, _ = http.ParseTime(response.Header.Get("Date"))
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return a, errNotFound
	default:
		return a, fmt.Errorf("got status %s, want 200", response.Status)
	}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, bodyMax))
	return a, err
}
