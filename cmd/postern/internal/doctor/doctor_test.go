package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/daemon"
	"postern/cmd/postern/internal/testbed"
	"postern/proxy/standin"
)

const prefix = config.Prefix

// gateway is a running gateway and the settings with which a command reaches it.
type gateway struct {
	*testbed.Site
	environ []string
	log     *testbed.Log
}

// start runs a gateway until the test ends. Settings in more come on top.
func start(t *testing.T, more ...string) *gateway {
	t.Helper()
	more = append([]string{prefix + "DRAIN=1ms", prefix + "STATE_DIR=" + stateDir(t)}, more...)
	g := &gateway{Site: testbed.NewSite(t, more...), log: testbed.NewLog()}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan *daemon.Daemon, 1), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Environ: g.Environ, Log: g.log, Ready: func(d *daemon.Daemon) { ready <- d }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case d := <-ready:
		g.environ = append(g.environ, g.Environ...)
		for _, name := range []string{"imap", "imaps", "pop3", "pop3s"} {
			if addr := d.Addr(name); addr != "" {
				g.environ = append(g.environ, prefix+strings.ToUpper(name)+"_LISTEN="+addr)
			}
		}
		g.environ = append(g.environ, prefix+"ADMIN_LISTEN="+d.AdminAddr().String())
	case err := <-ended:
		ended <- nil
		t.Fatalf("%v\n%s", err, g.log)
	}
	return g
}

// stateDir is a directory that only its owner can use.
func stateDir(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// options are those of a run against g, on a machine whose clock is right and that knows
// the certificate of g.
func (g *gateway) options() Options { return healthy(g.environ, g.Certificate) }

// healthy are options for a machine whose clock is right and that knows certificate.
func healthy(environ []string, certificate *standin.Certificate) Options {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate.CertPEM)
	return Options{Environ: environ, roots: roots, synchronised: func() (bool, error) { return true, nil }}
}

// withUser returns o with a login of the account of the site.
func withUser(t *testing.T, o Options) Options {
	o.User, o.PasswordFile = testbed.Account.Name, testbed.WriteFile(t, testbed.Account.Secret+"\n")
	return o
}

// examine runs the checks.
func examine(t *testing.T, o Options) Report {
	t.Helper()
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report {
		if (f.Remedy == "") != (f.Level == OK) || f.Check == "" || f.Found == "" {
			t.Errorf("got %+v, want a remedy unless it is OK", f)
		}
	}
	return report
}

// text is what the command prints.
func (r Report) text(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// expect fails the test unless one finding has the level and all parts.
func (r Report) expect(t *testing.T, level Level, parts ...string) {
	t.Helper()
lines:
	for _, f := range r {
		line := Report{f}.text(t)
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		if f.Level == level {
			return
		}
	}
	t.Errorf("no %v with %q in\n%s", level, parts, r.text(t))
}

// monitored are the settings of a gateway with receivers and a status page, all of which
// work. date is the clock of the servers.
func monitored(t *testing.T, date func() time.Time) []string {
	t.Helper()
	dir := t.TempDir()
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date().UTC().Format(http.TimeFormat))
		switch {
		case strings.HasPrefix(r.URL.Path, "/status/"):
			http.StripPrefix("/status", files).ServeHTTP(w, r)
		case r.Method == http.MethodGet && r.URL.Path == "/alerts/-/ready":
		case strings.HasPrefix(r.URL.Path, "/alerts/api/"):
		default:
			t.Errorf("got the request %s %s", r.Method, r.URL)
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return []string{prefix + "ALERTMANAGER_URL=" + server.URL + "/alerts", prefix + "WEBHOOK_URL=" + server.URL + "/secret",
		prefix + "STATUS_DIR=" + dir, prefix + "STATUS_URL=" + server.URL + "/status"}
}

// TestHealthyGatewayIsOK in every line, also with a login through each listener.
func TestHealthyGatewayIsOK(t *testing.T) {
	g := start(t, monitored(t, time.Now)...)
	awaitFile(t, value(g.environ, "STATUS_DIR"), summaryFile)
	r := examine(t, withUser(t, g.options()))
	for _, f := range r {
		if f.Level != OK && f.Check != "descriptors" { // those depend on the machine
			t.Errorf("got %+v", f)
		}
	}
	for _, check := range []string{"settings", "certificate ", "port imap ", "port imaps ", "port pop3 ", "port pop3s ", "state directory ", "clock",
		"backend imap ", "backend pop3 ", "login imap ", "login imaps ", "login pop3 ", "login pop3s ", "admin API ", "admin token", "metrics at ",
		"Alertmanager ", "webhook 1 ", "status page /", "status page http"} {
		r.expect(t, OK, "OK       "+check)
	}
	if strings.Contains(r.text(t), "secret") || strings.Contains(r.text(t), testbed.Account.Secret) {
		t.Errorf("shows a secret:\n%s", r.text(t))
	}
}

// value is the last value of a setting in environ.
func value(environ []string, name string) (last string) {
	for _, v := range environ {
		if value, found := strings.CutPrefix(v, prefix+name+"="); found {
			last = value
		}
	}
	return last
}

// awaitFile waits until there is a file.
func awaitFile(t *testing.T, dir, name string) {
	t.Helper()
	timeout := time.After(testbed.Patience)
	for !exists(filepath.Join(dir, name)) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-timeout:
			t.Fatalf("no %s in %s", name, dir)
		}
	}
}

// TestJSON has the same findings as the text.
func TestJSON(t *testing.T) {
	r := Report{ok("a", "b"), warning("c", "d\x1b[2J", "e"), failure("f", "\u202eg", "h")}
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got []map[string]string
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0]["level"] != "OK" || got[1]["level"] != "WARNING" || got[1]["found"] != "d [2J" || got[2]["level"] != "FAILURE" || got[2]["found"] != " g" {
		t.Errorf("got %s", &b)
	}
	if r.Worst() != Failure || r[:2].Worst() != Warning || r[:1].Worst() != OK {
		t.Error("wrong level of the worst finding")
	}
}

// TestPasswordFile that cannot be used ends the run; one that others can read is a warning.
func TestPasswordFile(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"empty": {"\nsecret\n", "got nothing in the first line"},
		"NUL":   {"a\x00b\n", "got a NUL"},
	} {
		if _, err := Run(t.Context(), Options{User: "anna", PasswordFile: testbed.WriteFile(t, tt.text)}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	if _, err := Run(t.Context(), Options{User: "anna", PasswordFile: "/no/such/file"}); err == nil {
		t.Error("no file: no error")
	}
	path := testbed.WriteFile(t, "secret\r\nmore")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	password, found, err := readPassword(path)
	if password != "secret" || err != nil || len(found) != 1 {
		t.Errorf("got %q, %v, %v", password, found, err)
	}
	Report(found).expect(t, Warning, "mode 0640", "chmod 600 "+path)
}
