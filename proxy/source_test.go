package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/proxy/dialogue"
)

func TestMappedAddressIsChargedAsIPv4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := behindBalancer(t, dialogue.IMAP{})
		ln := g.open(imapDoor)
		for i, header := range []string{
			"PROXY TCP6 ::ffff:203.0.113.9 2001:db8::1 4711 143\r\n", v2("203.0.113.9:4712", "192.0.2.1:143"),
		} {
			p := g.from(balancer, ln)
			p.Write([]byte(header))
			p.hear([]string{"* OK …", "* BYE [UNAVAILABLE] …"}[i])
		}
		p := g.from("203.0.113.9:99", ln)
		p.hear("* BYE …")
		p = g.from("[::ffff:203.0.113.9]:99", ln)
		p.hear("* BYE …")
		p = g.from("203.0.113.10:99", ln)
		p.hear("* OK …")
	})
}

func TestNeighboursInOneIPv6BlockAreOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := behindBalancer(t, dialogue.IMAP{})
		ln := g.open(imapDoor)
		g.from("[2001:db8:0:1::1]:1", ln).hear("* OK …")
		g.from("[2001:db8:0:1::2]:1", ln).hear("* BYE …")
		g.from("[2001:db8:0:2::1]:1", ln).hear("* OK …")
	})
}

func TestLocalIsAProbe(t *testing.T) {
	for name, probe := range map[string]func(*peer){
		"closes":       func(p *peer) { p.Close() },
		"reads":        func(p *peer) { p.hear("* OK …"); p.Close() },
		"says goodbye": func(p *peer) { p.hear("* OK …"); p.say("a1 LOGOUT"); p.hear("* BYE …", "a1 OK …"); p.seeEnd() },
	} {
		for block, rest := range map[string]string{
			"bare": local2, "with addresses": "\x20\x11\x00\x0c" + strings.Repeat("\x01", 12),
		} {
			t.Run(name+" "+block, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := behindBalancer(t, dialogue.IMAP{})
					ln := g.open(imapDoor)
					for range 3 {
						p := g.from(balancer, ln)
						p.Write([]byte(string(proxyproto.SIGV2) + rest))
						probe(p)
					}
					for _, r := range g.allRecords() {
						if r.End != EndProbe || r.Client.String() != balancer || r.Local.String() != gateAddr {
							t.Errorf("end %v, client %v, local %v", r.End, r.Client, r.Local)
						}
					}
					if n := g.Limiter.Stats(time.Now()).Sources; n != 0 {
						t.Errorf("%d sources were charged", n)
					}
				})
			})
		}
	}
}

// Nothing keeps a probe from logging in, which counts as anybody's attempt.
func TestProbeLogsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := behindBalancer(t, dialogue.IMAP{})
		g.limit(strict())
		ln := g.open(imapDoor)
		for _, password := range []string{"wrong", "right"} {
			p := g.from(balancer, ln)
			p.Write([]byte(string(proxyproto.SIGV2) + local2))
			p.hear("* OK …")
			p.say("a1 LOGIN u " + password)
			p.hear("a1 …")
			p.Close()
		}
		if n := g.charged(ap(balancer).Addr()); n != 1 {
			t.Errorf("%d tokens charged", n)
		}
		if all := g.allRecords(); len(all) != 2 || all[1].Account != "u" || all[1].End != EndProbe || all[1].Step != StepRelay {
			t.Errorf("records %+v", all)
		}
	})
}

// A probe's faults are faults.
func TestFaultyProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := behindBalancer(t, dialogue.IMAP{})
		p := g.from(balancer, g.open(imapDoor))
		p.say(string(proxyproto.SIGV2) + local2 + "GET / HTTP/1.0")
		p.hear("* OK …")
		p.seeBreak()
		if r := g.record(); r.End != EndProtocol {
			t.Errorf("end %v", r.End)
		}
	})
}

// A balancer that only looks whether the door opens does not care for TLS.
func TestLocalIsAProbeAtATLSDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := behindBalancer(t, dialogue.IMAP{})
		p := g.from(balancer, g.open(imapsDoor))
		p.Write([]byte(string(proxyproto.SIGV2) + local2))
		p.Close()
		if r := g.record(); r.End != EndProbe {
			t.Errorf("end %v: %v", r.End, r.Err)
		}
	})
}
