package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/postern/internal/handover"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
)

// upgraded are two generations in one process: the former drains, the next accepts connections.
type upgraded struct {
	former  *gateway
	next    *gateway
	retired chan struct{}  // closed when the former has ended
	signals chan os.Signal // for the former
}

// pair returns a link to g's next generation, and the other end.
func pair(t *testing.T) (main, next *handover.Link) {
	t.Helper()
	main, theirs, err := handover.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { main.Close() })
	if next, err = handover.FromFile(theirs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.Close() })
	return main, next
}

// takeOverWith plays the next process, with the settings in more on top of those of g.
func (g *gateway) takeOverWith(link *handover.Link, log *testbed.Log, more ...string) (*Daemon, error) {
	in := inherited{environ: append(g.Environ, more...), takeover: &takeover{link: link}}
	d, err := startDaemon(Options{Log: log}, &in)
	if err != nil {
		in.fail(err)
	}
	return d, err
}

// upgradeTo hands over from g to a second gateway with the settings in more on top.
func (g *gateway) upgradeTo(t *testing.T, more ...string) upgraded {
	t.Helper()
	main, theirs := pair(t)
	u := upgraded{former: g, next: &gateway{Site: g.Site, log: testbed.NewLog()}, retired: make(chan struct{}), signals: make(chan os.Signal, 2)}
	started := make(chan error, 1)
	go func() {
		var err error
		u.next.Daemon, err = g.takeOverWith(theirs, u.next.log, more...)
		started <- err
	}()
	h, err := g.handOverTo(main, os.Getpid())
	if err != nil {
		t.Fatalf("hand over: %v\n%s", err, u.next.log)
	}
	g.admin.StopAccepting()
	go func() {
		g.retire(t.Context(), h, u.signals)
		h.link.Close()
		close(u.retired)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.next.close)
	u.eventually(t, func() bool { return g.phase.Load() == retiring }) // signals of before are for the next
	g.server.StopAccepting()                                           // as retire does; here, so that the next connection comes to the next gateway
	return u
}

// await waits until check is true of the generations that the next one lists.
func (u upgraded) await(t *testing.T, check func([]monitor.Generation) bool) {
	t.Helper()
	u.eventually(t, func() bool { return check(u.next.generations.list()) })
}

// eventually waits until check is true.
func (u upgraded) eventually(t *testing.T, check func() bool) {
	t.Helper()
	timeout := time.After(testbed.Patience)
	for !check() {
		select {
		case <-time.After(time.Millisecond):
		case <-timeout:
			t.Fatalf("generations %+v\n%s", u.next.generations.list(), u.next.log)
		}
	}
}

// ended waits until the former generation has ended, here and for the next one.
func (u upgraded) ended(t *testing.T) {
	t.Helper()
	select {
	case <-u.retired:
	case <-time.After(testbed.Patience):
		t.Fatalf("still runs\n%s", u.former.log)
	}
	u.await(t, func(all []monitor.Generation) bool { return len(all) == 1 })
}

// TestHandOver keeps a session in the former process, and accepts clients in the next one at the same addresses. A client
// before login may still log in to the former.
func TestHandOver(t *testing.T) {
	g := start(t)
	session, prelogin := g.dial(t, "imaps"), g.dial(t, "imaps")
	session.Login()
	u := g.upgradeTo(t)
	after := u.next.dial(t, "imaps")
	after.Login()
	u.next.log.Await(t, "event=login", "result=accepted")
	prelogin.Login()
	u.await(t, func(all []monitor.Generation) bool {
		return len(all) == 2 && all[0].Number == 2 && all[0].Sessions == 1 && all[1].Number == 1 && all[1].Sessions == 2 && !all[1].Until.IsZero()
	})
	for _, c := range []*testbed.Client{session, prelogin} {
		c.Say("b SELECT INBOX", "b OK")
		c.Say("c LOGOUT", "c OK")
		c.Close()
	}
	u.ended(t)
	after.Say("b SELECT INBOX", "b OK")
}

// TestHandOverTwice: the second hand-over passes the link to the first process on.
func TestHandOverTwice(t *testing.T) {
	g := start(t)
	first := g.dial(t, "imaps")
	first.Login()
	u := g.upgradeTo(t)
	second := u.next.dial(t, "imaps")
	second.Login()
	if err := u.next.awaitLogins(); err != nil {
		t.Fatal(err)
	}
	v := u.next.upgradeTo(t)
	v.await(t, func(all []monitor.Generation) bool {
		return len(all) == 3 && all[0].Number == 3 && all[1].Sessions == 1 && all[2].Sessions == 1
	})
	v.next.generations.end(time.Hour) // it reaches both, and ends neither session
	for _, log := range []*testbed.Log{u.former.log, v.former.log} {
		log.Await(t, "ending earlier", "drain=1h0m0s")
	}
	first.Say("b LOGOUT", "b OK")
	first.Close()
	v.await(t, func(all []monitor.Generation) bool { return len(all) == 2 })
	v.next.generations.end(0)
	v.ended(t)
	if line, err := second.ReadLine(); err == nil {
		t.Errorf("still served: %q", line)
	}
}

// TestGenerationsCountTogether: what is denied in the former process counts in the next.
func TestGenerationsCountTogether(t *testing.T) {
	g := start(t, prefix+"LIMIT_SOURCE=2/1h", prefix+"TARPIT_MAX=1ms")
	before := g.dial(t, "imaps")
	before.Say("a LOGIN demo wrong1", "a NO [AUTHENTICATIONFAILED]")
	u := g.upgradeTo(t, prefix+"LIMIT_SOURCE=2/1h", prefix+"TARPIT_MAX=1ms")
	before.Say("b LOGIN demo wrong2", "b NO [AUTHENTICATIONFAILED]")
	u.former.log.Await(t, "account=demo", "result=denied", "client=stranger")
	local := netip.MustParseAddr("127.0.0.1")
	u.eventually(t, func() bool { // the event is under way
		a := limiter.Attempt{Addr: local, Account: "other", Credential: u.next.policy.limiter.Credential("other", []byte("x"))}
		k := u.next.policy.limiter.Ask(time.Now(), a)
		defer k.Settle(time.Now(), limiter.Void)
		return k.Verdict().Action == limiter.Refuse && k.Verdict().Rule == limiter.RuleSource
	})
	c := u.next.dial(t, "imaps")
	c.Say("a LOGIN demo wrong3", "a NO [UNAVAILABLE]")
	c.Close()
	before.Close()
	u.ended(t)
}

// TestSIGTERMToFormer: only the former process ends.
func TestSIGTERMToFormer(t *testing.T) {
	g := start(t)
	session := g.dial(t, "imaps")
	session.Login()
	u := g.upgradeTo(t)
	u.signals <- syscall.SIGHUP
	g.log.Await(t, "signal ignored", "hangup")
	u.signals <- syscall.SIGTERM
	g.log.Await(t, "ending earlier", "drain=5m0s")
	session.Say("b NOOP", "b OK")
	u.signals <- syscall.SIGTERM
	u.ended(t)
	u.next.dial(t, "imaps").Login()
}

// TestFormerOutlivesNext: if the next process ends, sessions of the former go on.
func TestFormerOutlivesNext(t *testing.T) {
	g := start(t)
	session := g.dial(t, "imaps")
	session.Login()
	u := g.upgradeTo(t)
	u.next.generations.mu.Lock()
	link := u.next.generations.formers[0].link
	u.next.generations.mu.Unlock()
	link.Close()
	g.log.Await(t, "the process that has taken over has ended")
	session.Say("b NOOP", "b OK")
	session.Say("c LOGOUT", "c OK")
	session.Close()
	u.ended(t)
}

// TestHandOverRefused: the process that was to hand over goes on, and says why.
func TestHandOverRefused(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct{ setting, want string }{
		"a setting that does not parse":      {"TRIES=many", "the new process: POSTERN_TRIES: "},
		"a certificate that is absent":       {"TLS_CERT=/no/such.crt", "the new process: POSTERN_TLS_CERT: "},
		"an address of another host":         {"IMAP_LISTEN=192.0.2.1:143", "the new process: POSTERN_IMAP_LISTEN: listen on 192.0.2.1:143"},
		"another state directory":            {"STATE_DIR=" + dir, "the new process: POSTERN_STATE_DIR: got \"" + dir + "\", want \"\""},
		"an admin socket that is impossible": {"ADMIN_LISTEN=unix:/no/such/dir/s", "the new process: POSTERN_ADMIN_LISTEN: "},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			main, theirs := pair(t)
			log := testbed.NewLog()
			go func() { _, _ = g.takeOverWith(theirs, log, prefix+tt.setting) }()
			if _, err := g.handOverTo(main, os.Getpid()); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			g.dial(t, "imaps").Login()
			g.log.Await(t, "event=login", "result=accepted")
			if g.generations.isPaused() || g.keeper.stop == nil {
				t.Error("does not go on as before")
			}
		})
	}
}

// TestHandOverToStranger: a process that speaks another protocol is refused.
func TestHandOverToStranger(t *testing.T) {
	g := start(t)
	for name, tt := range map[string]struct {
		do   func(next *handover.Link)
		want string
	}{
		"another version": {func(l *handover.Link) { _ = send(l, msgHello, helloMessage{handoverProtocol - 1, "9", os.Getpid()}) }, fmt.Sprintf("got hand-over protocol %d", handoverProtocol-1)},
		"another process": {func(l *handover.Link) { _ = send(l, msgHello, helloMessage{handoverProtocol, "9", 1}) }, "of process 1, want"},
		"another message": {func(l *handover.Link) { _ = send(l, msgServing, servingMessage{}) }, `got the message "serving", want "hello"`},
		"no JSON":         {func(l *handover.Link) { _ = l.Send(msgHello, []byte("hello")) }, `read the message "hello": `},
	} {
		t.Run(name, func(t *testing.T) {
			main, theirs := pair(t)
			tt.do(theirs)
			if _, err := g.handOverTo(main, os.Getpid()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	main, theirs := pair(t)
	theirs.Close()
	if _, err := g.handOverTo(main, os.Getpid()); !isEnd(err) {
		t.Errorf("a process that ends: got %v", err)
	}
}

// TestNextServesIfFormerEnds: if the process that hands over ends, the next one serves all the same, unless a service manager
// starts another.
func TestNextServesIfFormerEnds(t *testing.T) {
	for name, manager := range map[string]string{"without a service manager": "", "with one": "NOTIFY_SOCKET=@no-such-socket"} {
		for stage, messages := range map[string]func(t *testing.T, g *gateway, main *handover.Link){
			"before the resources": func(*testing.T, *gateway, *handover.Link) {},
			"before the state": func(t *testing.T, g *gateway, main *handover.Link) {
				if err := g.sendResources(main, 2); err != nil {
					t.Error(err)
				}
			},
		} {
			t.Run(name+" "+stage, func(t *testing.T) {
				g := start(t)
				main, theirs := pair(t)
				messages(t, g, main)
				if stage == "before the resources" {
					main.Close()
				} else {
					go func() {
						_, _ = expect(main, msgHello, nil)
						_, _ = expect(main, msgPrepared, nil)
						main.Close()
					}()
				}
				next := &gateway{Site: g.Site, log: testbed.NewLog()}
				var err error
				next.Daemon, err = g.takeOverWith(theirs, next.log, manager)
				if manager != "" {
					if err == nil || !strings.Contains(err.Error(), "the service manager starts another one") {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer next.close()
				next.dial(t, "imaps").Login()
			})
		}
	}
}

// TestUpgradeBusy: there is one upgrade at a time, and none without a program.
func TestUpgradeBusy(t *testing.T) {
	g := start(t)
	if _, err := g.upgrade(); err == nil || err.Error() != "there is no program to start" {
		t.Errorf("got %v", err)
	}
	g.phase.Store(upgrading)
	if _, err := g.upgrade(); !errors.Is(err, errBusy) {
		t.Errorf("got %v", err)
	}
	g.phase.Store(serving)
	g.endUpgrade()
	if _, err := g.askReload(); !errors.Is(err, errBusy) {
		t.Errorf("while shutting down: got %v", err)
	}
}

// TestEndOldest asks the oldest to end if there are five, and to end now if it was asked before.
func TestEndOldest(t *testing.T) {
	g := start(t)
	var links []*handover.Link
	add := func() {
		main, theirs := pair(t)
		links = append(links, theirs)
		f := newFormer(monitor.Generation{Number: len(links)}, main)
		close(f.loginsOver)
		g.generations.add(f)
	}
	for range maxGenerations - 1 {
		add()
	}
	for step, want := range [][]time.Duration{{-1, -1, -1}, {time.Minute, -1, -1, -1}, {0, time.Minute, -1, -1, -1}} {
		g.generations.endOldest(time.Minute)
		for i, l := range links {
			within := time.Duration(-1)
			_ = l.SetDeadline(time.Now().Add(time.Millisecond)) // what was sent is there already
			var e endMessage
			if _, err := expect(l, msgEnd, &e); err == nil {
				within = e.Within
			}
			if within != want[i] {
				t.Errorf("step %d, former %d: got %v, want %v", step, i, within, want[i])
			}
		}
		add()
	}
}

// TestPolicyLoginsOverUpgrade: a login about which Dovecot has asked the former process counts when its outcome is reported
// to the next one, and is no longer pending where nobody can report it.
func TestPolicyLoginsOverUpgrade(t *testing.T) {
	g := start(t, prefix+"POLICY_LISTEN=127.0.0.2:0", prefix+"LIMIT_SOURCE=1/1h")
	if got := g.askPolicy(t, "allow"); got != policyPass || g.asked.Pending() != 1 {
		t.Fatalf("got %s with %d pending, want %s and 1", got, g.asked.Pending(), policyPass)
	}
	u := g.upgradeTo(t)
	u.ended(t)
	if n := g.asked.Pending(); n != 0 {
		t.Errorf("got %d pending in the process that has ended, want 0", n)
	}
	if got := u.next.askPolicy(t, "report"); got != `{"status":"ok"}` {
		t.Errorf("got %s", got)
	}
	if got := u.next.askPolicy(t, "allow"); got == policyPass {
		t.Error("after a denial that was asked about before the upgrade: got no delay and no refusal")
	}
}
