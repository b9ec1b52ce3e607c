package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/monitor"
	"postern/limiter"
)

// TestHandOverWithStateDir: the lock file names the process that has the lock.
func TestHandOverWithStateDir(t *testing.T) {
	dir := t.TempDir()
	g := start(t, prefix+"STATE_DIR="+dir)
	g.upgradeTo(t).ended(t)
	want := fmt.Sprintf("(process %d)", os.Getpid())
	if err := openWith(g.Environ); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestHandOverAnswersRequests: a process that has handed over answers the requests under way before it ends.
func TestHandOverAnswersRequests(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin")
	g := start(t, prefix+"ADMIN_LISTEN=unix:"+socket)
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	answered := make(chan error, 1)
	go func() {
		answer, err := client.Post("http://localhost/v1/reload", "application/json", strings.NewReader("{}"))
		if err == nil {
			answer.Body.Close()
		}
		answered <- err
	}()
	request := <-g.reloads
	u := g.upgradeTo(t)
	go func() {
		<-u.retired
		g.close()
	}()
	u.eventually(t, func() bool { return g.phase.Load() == retiring })
	request.done <- result[admin.Reloaded]{}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	u.ended(t)
}

// TestSignalsDuringUpgrade: what is sent to the main process is for the gateway, also if that hands over meanwhile.
func TestSignalsDuringUpgrade(t *testing.T) {
	for want, when := range map[syscall.Signal]string{syscall.SIGTERM: "at its end", syscall.SIGHUP: "before"} {
		t.Run(want.String()+" "+when, func(t *testing.T) {
			g := start(t, prefix+"DRAIN=1m")
			next := exec.Command("sleep", "1h")
			if err := next.Start(); err != nil {
				t.Fatal(err)
			}
			signals := make(chan os.Signal)
			g.phase.Store(upgrading)
			h := &handedOver{next: monitor.Generation{PID: next.Process.Pid}, drain: time.Hour}
			if when == "before" {
				go func() {
					signals <- want
					g.log.Await(t, "settings reloaded")
					g.handedOver <- h
				}()
			} else {
				signals = make(chan os.Signal, 1)
				signals <- want
				g.handedOver <- h
			}
			got, err := g.serveUntilEnd(t.Context(), signals, g.read)
			if got != h || err != nil {
				t.Fatalf("got %v, %v", got, err)
			}
			h.forwardSignal(signals, g.config.Timeouts.Drain)
			if h.signal != want || want == syscall.SIGTERM && h.drain != time.Minute {
				t.Errorf("got %v, drain %v", h.signal, h.drain)
			}
			if want == syscall.SIGHUP { // which the other process may ignore
				_ = next.Process.Kill()
			}
			_ = next.Wait()
			if got := next.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != want && want == syscall.SIGTERM {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestUpgradeIsAskedFor: requests of the admin API are handled while the process serves, like signals.
func TestUpgradeIsAskedFor(t *testing.T) {
	g := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := g.serveUntilEnd(ctx, nil, g.read)
		ended <- err
	}()
	if _, err := g.askUpgrade(); err == nil || err.Error() != "there is no program to start" {
		t.Errorf("got %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := g.askUpgrade(); !errors.Is(err, errBusy) {
		t.Errorf("while shutting down: got %v", err)
	}
}

// TestNextEndsBeforeCommit: a process whose successor has ended goes on, unless a service manager starts another one.
func TestNextEndsBeforeCommit(t *testing.T) {
	for _, manager := range []string{"", "NOTIFY_SOCKET=/no/such/socket"} {
		g := start(t, manager)
		main, theirs := pair(t)
		theirs.Close()
		if err := g.commit(main, 1); isEnd(err) != (manager == "") {
			t.Errorf("%q: got %v", manager, err)
		}
	}
}

// TestUnusedSocketsAreRemoved: the next process removes the sockets it does not use from the descriptor store once the
// service manager knows it as the main process.
func TestUnusedSocketsAreRemoved(t *testing.T) {
	manager := newManager(t)
	g := start(t, "NOTIFY_SOCKET="+manager.LocalAddr().String())
	u := g.upgradeTo(t, prefix+"POP3_LISTEN=off")
	notified(t, manager, notifyReady+"\nMAINPID=")
	if got, want := notified(t, manager, "FDSTOREREMOVE=1"), "FDSTOREREMOVE=1\nFDNAME=pop3 127.0.0.1;0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	u.ended(t)
}

// TestStoppedProcessDelaysNobody: a process that does not read its link blocks neither the end of a former process nor that
// of the main one.
func TestStoppedProcessDelaysNobody(t *testing.T) {
	g := start(t)
	main, theirs := pair(t)
	g.generations.add(newFormer(monitor.Generation{Number: 7}, main))
	const warning = "cannot end a former generation"
	for !strings.Contains(g.log.String(), warning) { // until the socket is full
		g.generations.end(time.Hour)
	}
	g.log.Await(t, warning, "generation=7")
	if _, err := theirs.Receive(); err != nil {
		t.Fatal(err)
	}
	g.generations.end(0) // there is space again
	for e := (endMessage{time.Hour}); e.Within != 0; {
		m, err := theirs.Receive()
		if err == nil {
			err = json.Unmarshal(m.Payload, &e)
		}
		if err != nil || m.Kind != msgEnd {
			t.Fatalf("got %+v, %v", m, err)
		}
	}
}

// TestLostEventsEndTheLink: when a former process has lost events for the main one, that must forget what it has open.
func TestLostEventsEndTheLink(t *testing.T) {
	g := start(t)
	main, theirs := pair(t)
	r := &retired{Daemon: g.Daemon, handedOver: &handedOver{link: main, events: g.policy.limiter.Feed()}}
	r.detach(errOverflowed)
	if _, err := theirs.Receive(); !isEnd(err) {
		t.Errorf("got %v", err)
	}
}

// TestHandOverKeepsSnapshotOfDoubt: the next process keeps the former snapshot if the one it makes has far fewer accounts.
func TestHandOverKeepsSnapshotOfDoubt(t *testing.T) {
	dir := stateDir(t.TempDir())
	g := start(t, prefix+"STATE_DIR="+string(dir))
	for i := range 2 * fewAccounts {
		a := limiter.Attempt{Addr: netip.MustParseAddr("192.0.2.1"), Account: fmt.Sprint("user", i)}
		k := g.policy.limiter.Ask(time.Now(), a)
		k.Settle(time.Now(), limiter.Accepted)
	}
	g.keeper.known.save(time.Now())
	u := g.upgradeTo(t, prefix+"KNOWN_TTL=off")
	u.next.keeper.known.save(time.Now())
	if old := headOf(t, string(dir), knownOldFile); old.Accounts != 2*fewAccounts {
		t.Errorf("got a former snapshot of %d accounts, want %d", old.Accounts, 2*fewAccounts)
	}
	u.ended(t)
}
