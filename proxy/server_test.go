package proxy

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter"
	"postern/proxy/dialogue"
)

// A failing accept slows the gate down, and no more.
func TestAcceptBacksOff(t *testing.T) {
	for name, c := range map[string]struct {
		err           error
		nofile, other uint64
	}{
		"EMFILE":  {&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}, 12, 0},
		"ENFILE":  {syscall.ENFILE, 12, 0},
		"aborted": {syscall.ECONNABORTED, 0, 12},
		"other":   {errors.New("whatever"), 0, 12},
		"closed":  {net.ErrClosed, 0, 12},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, dialogue.IMAP{}, nil)
				ln := g.open(imapDoor)
				pause, last := 5*time.Millisecond, time.Now()
				for i := range 11 {
					ln.fail(c.err)
					if took := time.Since(last); i > 0 && took != pause {
						t.Errorf("accept %d came after %v, want %v", i, took, pause)
					}
					if last = time.Now(); i > 0 {
						pause = min(2*pause, time.Second)
					}
				}
				if pause != time.Second {
					t.Errorf("the last pause was %v", pause)
				}
				g.from(clientAddr, ln).hear("* OK …")
				last = time.Now()
				ln.fail(c.err)
				g.from(clientAddr, ln).hear("* OK …")
				if took := time.Since(last); took != 5*time.Millisecond {
					t.Errorf("after a success the pause is %v", took)
				}
				if s := g.Stats(); s.AcceptNoFile != c.nofile || s.AcceptOther != c.other {
					t.Errorf("stats %+v", s)
				}
			})
		})
	}
}

// Where descriptors ran out, whoever has waited longest before login makes room.
func TestOutOfDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, (&judge{}).imap)
		ln := g.open(imapDoor)
		inside := g.from(clientAddr, ln)
		inside.say("a1 LOGIN u right")
		inside.hear("* OK …", "a1 OK …")
		first, second := g.from("203.0.113.8:1", ln), g.from("203.0.113.9:1", ln)
		first.hear("* OK …")
		second.hear("* OK …")
		ln.fail(syscall.ECONNABORTED)
		synctest.Wait()
		if s := g.Stats(); s.Open != 3 {
			t.Errorf("stats %+v", s)
		}
		ln.fail(syscall.EMFILE)
		first.seeEnd()
		second.hearNothing(time.Second)
		inside.say("still here")
		inside.hear("echo still here")
		ln.fail(syscall.EMFILE)
		second.seeEnd()
		ln.fail(syscall.EMFILE) // nobody is left to go
		inside.say("still here")
		inside.hear("echo still here")
	})
}

// Whoever takes too long is told so.
func TestLoginTimeout(t *testing.T) {
	bye := map[string]string{"imap": "* BYE Disconnected for inactivity.", "pop3": "-ERR Disconnected for inactivity."}
	for name, says := range map[string][]string{
		"silent":         nil,
		"within a line":  {"a1 "},
		"one by one":     {"a", "1", " ", "N", "O", "O", "P"},
		"busy":           {"a1 CAPABILITY\r\n", "a2 CAPABILITY\r\n", "a3 CAPABILITY\r\n"},
		"after a denial": {"a1 LOGIN u wrong\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			eachDoor(t, func(t *testing.T, d Listener) {
				g := newGate(t, d.Protocol, (&judge{}).play(d.Protocol.Name()))
				begun := time.Now()
				p := g.enter(d)
				for i, part := range says {
					if d.Protocol.Name() == "pop3" {
						part = map[string]string{"a1 ": "US", "a1 LOGIN u wrong\r\n": "USER u\r\nPASS wrong\r\n"}[part]
					}
					<-time.After(time.Duration(i) * time.Second)
					p.Write([]byte(part))
				}
				line := ""
				for line != bye[d.Protocol.Name()] {
					var err error
					if line, err = p.line(); err != nil {
						t.Fatalf("no goodbye: %v", err)
					}
				}
				p.seeEnd()
				if took := time.Since(begun); took != g.Timeouts.Login {
					t.Errorf("it took %v", took)
				}
				if r := g.record(); r.End != EndTimeout || r.Step != StepDialogue {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

func TestHandshakeTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		door  Listener
		says  string
		login time.Duration
		want  time.Duration
	}{
		"silent":         {imapsDoor, "", time.Minute, 10 * time.Second},
		"half a hello":   {pop3sDoor, "\x16\x03\x01\x02\x00\x01", time.Minute, 10 * time.Second},
		"less time":      {imapsDoor, "", 4 * time.Second, 4 * time.Second},
		"after STARTTLS": {imapDoor, "a1 STARTTLS\r\n", time.Minute, 10 * time.Second},
		"after STLS":     {pop3Door, "STLS\r\n", time.Minute, 10 * time.Second},
		"STARTTLS late":  {imapDoor, "a1 STARTTLS\r\n", 5 * time.Second, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, c.door.Protocol, nil)
				g.Timeouts.Login = c.login
				begun := time.Now()
				p := g.from(clientAddr, g.open(c.door))
				p.Write([]byte(c.says))
				for err := error(nil); err == nil; {
					_, err = p.line()
				}
				if took := time.Since(begun); took != c.want {
					t.Errorf("it took %v", took)
				}
				r := g.record()
				if r.End != EndTLS || r.Step != StepTLS || r.Handshake != HandshakeFailed || r.TLS != "" || r.Err == nil {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// Faults of the client are told from its leaving.
func TestEndsBeforeLogin(t *testing.T) {
	for name, c := range map[string]struct {
		says string
		end  End
	}{
		"closes":          {"", EndClient},
		"within a line":   {"a1 NO", EndClient},
		"says goodbye":    {"a1 LOGOUT\r\n", EndClient},
		"speaks HTTP":     {"GET / HTTP/1.1\r\nHost: mail\r\n\r\n", EndProtocol},
		"speaks TLS":      {"\x16\x03\x01\x02\x00\x01", EndProtocol},
		"speaks nonsense": {"?\r\n?\r\n?\r\n", EndProtocol},
		"speaks too long": {string(make([]byte, 9000)) + "\r\n", EndProtocol},
		"smuggles":        {"a1 STARTTLS\r\na2 LOGIN u right\r\n", EndProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, dialogue.IMAP{}, func(b *peer) { b.fail("the backend was dialled") })
				p := g.enter(imapDoor)
				p.Write([]byte(c.says))
				synctest.Wait()
				p.Close()
				r := g.record()
				if r.End != c.end || r.Step != StepDialogue || r.Verdict.Action != limiter.Pass || r.Attempts != 0 || (r.Err != nil) != (c.end == EndProtocol || name == "within a line") {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// Handshakes of all kinds are recorded as such.
func TestHandshakeIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, dialogue.IMAP{}, nil)
		ln := g.open(imapsDoor)
		c := g.from(clientAddr, ln)
		c.say("a1 NOOP") // in clear text
		if _, err := c.line(); err == nil {
			t.Error("it was answered")
		}
		g.greeted(g.from(clientAddr, ln), imapsDoor)
		all := g.allRecords()
		if all[0].Handshake != HandshakeFailed || all[0].End != EndTLS || all[0].Greeting != 0 {
			t.Errorf("record %+v", all[0])
		}
		if all[1].Handshake != HandshakeDone || all[1].TLS == "" || all[1].Cipher == "" {
			t.Errorf("record %+v", all[1])
		}
	})
}
