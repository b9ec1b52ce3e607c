//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"time"

	"postern/bench/client"
	"postern/cmd/postern/internal/testbed"
)

// load is what many clients do again and again, and its outcomes.
type load struct {
	once    func(i int) string // what is done, for the i-th time; returns its outcome
	begin   time.Time
	stop    chan struct{}
	running sync.WaitGroup

	mu       sync.Mutex
	started  int
	outcomes map[string]int
}

// startLoad calls once from several goroutines, at most rate times a second in sum.
// Where the machine is too slow for that, it is called less often. Call end to end it.
func startLoad(t *testing.T, rate, workers int, once func(i int) string) *load {
	t.Helper()
	l := &load{once: once, begin: time.Now(), stop: make(chan struct{}), outcomes: map[string]int{}}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	for range workers {
		l.running.Go(func() { l.run(tick.C) })
	}
	t.Cleanup(func() {
		l.end()
		tick.Stop()
	})
	return l
}

// run calls once after each tick.
func (l *load) run(tick <-chan time.Time) {
	for {
		select {
		case <-l.stop:
			return
		case <-tick:
		}
		l.mu.Lock()
		i := l.started
		l.started++
		l.mu.Unlock()
		result := l.once(i)
		l.mu.Lock()
		l.outcomes[result]++
		l.mu.Unlock()
	}
}

// end ends the load, waits until all that was begun is finished, and returns how
// often each outcome occurred.
func (l *load) end() map[string]int {
	l.mu.Lock()
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.mu.Unlock()
	l.running.Wait()
	return maps.Clone(l.outcomes)
}

// count returns how many calls have returned.
func (l *load) count() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.outcomes {
		n += times
	}
	return n
}

// awaitCount waits until count is at least n.
func (l *load) awaitCount(t *testing.T, n int) {
	t.Helper()
	await(t, fmt.Sprintf("%d calls", n), func() bool { return l.count() >= n })
}

// check ends the load and fails the test if it had an outcome other than outcomeOK.
func (l *load) check(t *testing.T, what string) {
	t.Helper()
	results := l.end()
	t.Logf("%s: %v in %v", what, results, time.Since(l.begin).Round(time.Second))
	for result, n := range results {
		if result != outcomeOK {
			t.Errorf("%s: %d times %s", what, n, result)
		}
	}
}

// dialers connect to the IMAP listeners of s: imaps first.
func dialers(s *supervisor) [2]*client.Dialer {
	return [2]*client.Dialer{
		{Addr: s.addr("imaps"), Protocol: client.IMAP, Security: client.TLS, TLS: s.cert.Client(), Timeout: testbed.Patience},
		{Addr: s.addr("imap"), Protocol: client.IMAP, Security: client.Plain, Timeout: testbed.Patience},
	}
}

// loginSecret is the password of all accounts that log in again and again.
const loginSecret = "pass"

// loginAccounts is how many there are.
const loginAccounts = 240

// loginAccount is one of them, and loginSource its address.
func loginAccount(i int) string    { return fmt.Sprintf("user%d", i%loginAccounts) }
func loginSource(i int) netip.Addr { return address(20, i%loginAccounts) }

// logsIn returns what users do for a load: they log in and out, half of them in TLS. Each
// account has an address of its own.
func logsIn(s *supervisor) func(i int) string {
	d := dialers(s)
	return func(i int) string {
		return outcome(logInAndOut(d[i%2], loginSource(i), loginAccount(i), loginSecret))
	}
}

// logInAndOut is one login. An error means that it failed.
func logInAndOut(d *client.Dialer, source netip.Addr, account, secret string) error {
	session, err := d.Dial(context.Background(), source)
	if err != nil {
		return unfinished(err)
	}
	answer, err := session.Login(account, secret, client.Login)
	if err == nil && answer != client.Accepted {
		err = fmt.Errorf("login not accepted: %s", session.Refusal)
	}
	if err != nil {
		session.Close()
		return unfinished(err)
	}
	return unfinished(session.Logout())
}
