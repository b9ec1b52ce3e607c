package proxy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/limiter"
)

func TestApart(t *testing.T) {
	want := errors.New("so it ended")
	if err := apart(func() error { return want }); err != want {
		t.Errorf("%v, want %v", err, want)
	}
	defer func() {
		if told := fmt.Sprint(recover()); !strings.HasPrefix(told, "a fault\n") || !strings.Contains(told, "apart_test.go") {
			t.Errorf("recovered %s", told)
		}
	}()
	_ = apart(func() error { panic("a fault") })
	t.Error("it goes on")
}

// A session that was in the lot while it waited in the tarpit is woken there in
// the relay too.
func TestLotTwice(t *testing.T) {
	for _, d := range []Door{imapDoor, imapsDoor} {
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
			if r := <-l.records; len(r.Attempts) != 3 || r.Attempts[2].Waited == 0 || r.End != EndClient {
				t.Errorf("record %+v", r)
			}
		})
	}
}
