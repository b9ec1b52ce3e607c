package demo

import (
	"bytes"
	"context"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"postern/limiter/traffic"
)

// followScreen lets a screen count for some seconds, with ten logins of a known user
// and ten others in each, and an event in the third one.
func followScreen(t *testing.T, seconds int, terminal bool) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		r := &results{known: map[string]bool{"kari": true}}
		s := &screen{results: r, terminal: terminal, w: &out, begun: time.Now()}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.follow(ctx); close(ended) }()
		<-time.After(time.Second / 2)
		for i := range seconds {
			for range 10 {
				r.add(traffic.Login{Account: "kari", Secret: traffic.Secret("kari")}, "a OK welcome")
				r.add(traffic.Login{Account: "kari", Secret: "guess"}, "a NO [AUTHENTICATIONFAILED] no")
			}
			<-time.After(time.Second)
			if i == 1 {
				s.print("ALERT", "now")
			}
		}
		cancel()
		<-ended
	})
	return out.String()
}

// TestTerminalRedrawsOneLine in place, below what else is printed.
func TestTerminalRedrawsOneLine(t *testing.T) {
	const second, third = "0:02  20 logins/s, known served 100.0 % of 20, denied 20, refused 0", "0:03  20 logins/s, known served 100.0 % of 30, denied 30, refused 0"
	want := clearLine + second + clearLine + "0:02  ALERT   now\n" + second + clearLine + third + "\n"
	if got := followScreen(t, 3, true); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestPipeGetsLines, one every few seconds and no escape sequence.
func TestPipeGetsLines(t *testing.T) {
	want := "0:02  ALERT   now\n" +
		"0:05  20 logins/s, known served 100.0 % of 50, denied 50, refused 0\n" +
		"0:10  20 logins/s, known served 100.0 % of 100, denied 100, refused 0\n"
	if got := followScreen(t, 11, false); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestResults of logins by their answers.
func TestResults(t *testing.T) {
	r := &results{known: map[string]bool{"kari": true}}
	kari, newcomer := traffic.Login{Account: "kari", Secret: traffic.Secret("kari")}, traffic.Login{Account: "ola", Secret: traffic.Secret("ola")}
	for _, answer := range []string{"a OK", "a NO [UNAVAILABLE] wait", ""} {
		r.add(kari, answer)
	}
	for _, answer := range []string{"a OK", "a NO [AUTHENTICATIONFAILED] no", "a NO [AUTHENTICATIONFAILED] no", "a NO [UNAVAILABLE] wait", ""} {
		r.add(newcomer, answer)
	}
	if got, want := r.now(), (counts{known: 3, served: 1, denied: 2, refused: 1, none: 2}); got != want || got.all() != 8 {
		t.Errorf("got %+v, %d in all, want %+v", got, got.all(), want)
	}
}

// TestOnlyTerminalsAreTerminals: a pipe and a file are none.
func TestOnlyTerminalsAreTerminals(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, out := range map[string]io.Writer{"pipe": w, "file": file, "buffer": &bytes.Buffer{}} {
		if isTerminal(out) {
			t.Errorf("a %s is taken for a terminal", name)
		}
	}
}
