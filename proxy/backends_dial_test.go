package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/proxy/dialogue"
	"postern/proxy/netpoll"
)

// A backend does not count as failed if the proxy has run out of descriptors, or the
// client of time.
func TestLocalFaultsDoNotTakeBackendDown(t *testing.T) {
	for _, fault := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		synctest.Test(t, func(t *testing.T) {
			proxy := newProxyWithTwoBackends(t, 1, (&fakeBackend{}).imap, (&fakeBackend{}).imap)
			connect := proxy.backends.connect
			proxy.backends.connect = func(string, time.Time) (netpoll.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", fault)}
			}
			ln := proxy.listen(imapListener)
			client := proxy.connect(clientAddr, ln)
			client.send("a1 LOGIN u right")
			client.expect("* OK …", "a1 "+imapBusy)
			stop := proxy.watchBackends()
			for _, s := range proxy.backends.Stats() {
				if !s.Up || s.Logins != 0 || s.ProbeError != nil {
					t.Errorf("%v: got stats %+v", fault, s)
				}
			}
			stop()
			proxy.backends.connect = connect
			client = proxy.connect(clientAddr, ln)
			client.send("a1 LOGIN u right")
			client.expect("* OK …", "a1 OK …")
		})
	}
	for range 20 { // which of two timers fires first is random
		synctest.Test(t, func(t *testing.T) {
			hang := func(b *peer) { b.readHeader(); b.expectClosed() }
			proxy := newProxyWithTwoBackends(t, 1, hang, hang)
			start := time.Now()
			_, err := proxy.reachBackend(start.Add(2 * time.Second))
			if err == nil || time.Since(start) != 2*time.Second || !proxy.backendStats(backendAddr).Up || !proxy.backendStats(otherAddr).Up {
				t.Errorf("got error %v after %v, stats %+v", err, time.Since(start), proxy.backends.Stats())
			}
		})
	}
}

func TestExpiredDeadlineDoesNotTakeBackendDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, nil)
		if _, err := proxy.reachBackend(time.Now()); err == nil || !proxy.backends.Healthy() {
			t.Errorf("out of time: got error %v and the backend down, want it up", err)
		}
		if _, err := proxy.reachBackend(time.Now().Add(time.Minute)); err == nil || proxy.backends.Healthy() {
			t.Errorf("got error %v and the backend up, want it down", err)
		}
	})
}

// A connection to a backend may be closed twice.
func TestBackendConnClosesTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := newTestProxy(t, dialogue.IMAP{}, (&fakeBackend{}).imap)
		up, err := proxy.reachBackend(time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		up.close()
		up.close()
		if s := proxy.backendStats(backendAddr); s.Sessions != 0 || s.Logins != 0 {
			t.Errorf("got stats %+v, want Sessions %v, Logins %v", s, 0, 0)
		}
	})
}

func TestDialResults(t *testing.T) {
	for _, c := range []struct {
		err  error
		want DialResult
	}{
		{&net.OpError{Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, DialRefused},
		{&net.OpError{Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, DialUnreachable},
		{&net.OpError{Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}, DialTimeout},
		{&net.OpError{Err: os.ErrDeadlineExceeded}, DialTimeout},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, DialUnreachable},
		{&net.DNSError{Err: "timeout", IsTimeout: true}, DialTimeout},
		{context.DeadlineExceeded, DialTimeout},
		{errors.New("whatever"), DialUnreachable},
	} {
		if got := dialResult(fmt.Errorf("dial: %w", c.err)); got != c.want {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
	}
}

// reachBackend connects to a backend, or marks it failed.
func (proxy *testProxy) reachBackend(until time.Time) (*backendConn, error) {
	slot := &slotRequest{waiter: newWaiter(&session{server: &Server{}})}
	one, err := proxy.backends.requestSlot(slot)
	if err != nil {
		return nil, err
	}
	up, err := proxy.backends.login(one, slot, clientInfo{}, until)
	if err != nil {
		proxy.backends.markFailed(one, err, until)
	}
	return up, err
}

func TestSettingsAsText(t *testing.T) {
	versions, modes := []string{"v2", "v1", "off"}, []string{"off", "starttls", "tls"}
	for i, name := range versions {
		var v ProxyVersion
		err := v.UnmarshalText([]byte(name))
		text, _ := v.MarshalText()
		if err != nil || v != ProxyVersion(i) || string(text) != name || v.String() != name {
			t.Errorf("%s: got %v, %s, %v", name, v, text, err)
		}
	}
	for i, name := range modes {
		var m BackendTLS
		err := m.UnmarshalText([]byte(name))
		text, _ := m.MarshalText()
		if err != nil || m != BackendTLS(i) || string(text) != name || m.String() != name {
			t.Errorf("%s: got %v, %s, %v", name, m, text, err)
		}
	}
	for _, name := range []string{"", "V2", "v3", "v2 ", "on", "TLS", "implicit"} {
		var v ProxyVersion
		var m BackendTLS
		for _, err := range []error{v.UnmarshalText([]byte(name)), m.UnmarshalText([]byte(name))} {
			if err == nil || !strings.Contains(err.Error(), "off") {
				t.Errorf("%q: got error %v, want one that names the values", name, err)
			}
		}
	}
}
