package proxy

import (
	"fmt"
	"testing"
)

// TestEverySessionIsWoken has many sessions rest on both sides, in TLS and without,
// and wakes them all, over and over.
func TestEverySessionIsWoken(t *testing.T) {
	for _, d := range []Listener{imapDoor, imapsDoor} {
		t.Run(d.Name, func(t *testing.T) {
			l := newLoopback(t, d, in((*peer).echo))
			clients := make([]*peer, 50)
			for i := range clients {
				clients[i], _ = l.enter(t)
				clients[i].say("a1 LOGIN u p")
				clients[i].hear("a1 OK in")
			}
			for round := range 100 {
				word := fmt.Sprint("round ", round)
				for _, p := range clients {
					p.say(word)
				}
				for _, p := range clients {
					p.hear("echo " + word)
				}
			}
		})
	}
}
