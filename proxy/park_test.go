package proxy

import (
	"testing"
	"time"

	"postern/limiter"
)

// A session that was parked while it waited in the tarpit is parked in the relay
// too.
func TestParkedTwice(t *testing.T) {
	for _, d := range []Listener{imapDoor, imapsDoor} {
		t.Run(d.Name, func(t *testing.T) {
			l := newLoopback(t, d, (&judge{}).imap)
			p := limiter.Policy{
				Network: limiter.Rate{Tokens: 10, Per: time.Hour}, WaitMax: 20 * time.Millisecond, TableMax: 100,
			}
			if err := l.Limiter.SetPolicy(time.Now(), p); err != nil {
				t.Fatal(err)
			}
			c, _ := l.enter(t)
			for range 2 {
				c.say("a1 LOGIN u wrong")
				c.hear("a1 NO …")
			}
			c.say("a1 LOGIN u right")
			c.hear("a1 OK …")
			for range 3 {
				c.say("hello")
				c.hear("echo hello")
			}
			c.Close()
			if r := <-l.records; r.Attempts != 3 || r.Verdict.Wait == 0 || r.End != EndClient {
				t.Errorf("record %+v", r)
			}
		})
	}
}
