package notices_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"postern/cmd/postern/internal/daemon"
	"postern/cmd/postern/internal/notices"
	"postern/cmd/postern/internal/notify"
	"postern/cmd/postern/internal/testbed"
)

// beGateway in the environment makes this program run a gateway, for the test that needs
// processes.
const beGateway = "BE_GATEWAY"

func TestMain(m *testing.M) {
	if os.Getenv(beGateway) != "" {
		if err := daemon.Run(context.Background(), daemon.Options{Args: os.Args, Environ: os.Environ(), Log: os.Stderr}); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// TestUpgradeKeepsNotices: a notice that waits for its receiver is delivered once, by the
// process that takes over, which knows what was learned as well.
func TestUpgradeKeepsNotices(t *testing.T) {
	t.Parallel()
	var working atomic.Bool
	refused, got := make(chan struct{}, 100), make(chan batch, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !working.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			refused <- struct{}{}
			return
		}
		var b batch
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
			t.Error(err)
		}
		got <- b
	}))
	defer hook.Close()
	countries, systems := notices.CountryFile(t), notices.SystemFile(t)
	s := &site{t: t, backend: "127.0.0.1:0"}
	s.serve("first")
	log := testbed.NewLog()
	process := exec.Command(os.Args[0])
	process.Env = append(testbed.NewSite(t, "POSTERN_IMAP_BACKENDS="+s.backend, "POSTERN_PROXY_FROM=127.0.0.0/8", "POSTERN_CLEARTEXT_LOGIN=true", "POSTERN_DRAIN=1ms",
		"POSTERN_STATE_DIR="+learned(t, countries, systems), "POSTERN_NOTICE_URL="+hook.URL, "POSTERN_COUNTRY_FILE="+countries).Environ, beGateway+"=1")
	process.Stderr = log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	next := 0
	t.Cleanup(func() {
		if next != 0 {
			_ = syscall.Kill(next, syscall.SIGTERM)
		} else {
			_ = process.Process.Kill()
		}
		_ = process.Wait() // also for the next process, which writes to the same log
	})
	ready := log.Await(t, "event=start")
	addr := regexp.MustCompile(`imap (127\.0\.0\.1:\d+)`).FindStringSubmatch(ready)
	if addr == nil {
		t.Fatalf("no address in %s", ready)
	}
	loginAt(t, addr[1], "198.51.100.7", "anna@example.org", "first", "OK")
	<-refused
	working.Store(true)
	if err := process.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	done := log.Await(t, "upgrade complete")
	_, fields, err := testbed.ParseLine("text", done[:len(done)-1])
	if err != nil {
		t.Fatal(err)
	}
	if next, err = strconv.Atoi(fields["process"]); err != nil {
		t.Fatalf("%v in %s", err, done)
	}
	if b := <-got; len(b.Notices) != 1 || b.Notices[0].Kind != notify.NewCountry || b.Notices[0].Account != "anna@example.org" {
		t.Errorf("got %+v, want anna's first login from Brazil", b)
	}
	log.Await(t, "former generation ended")
	loginAt(t, addr[1], "198.51.100.9", "anna@example.org", "first", "OK") // no longer new
	if len(got) != 0 {
		t.Errorf("got another batch: %+v", <-got)
	}
}
