package tlsconf_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/tlsconf"
)

// watched runs Watch once a minute in false time.
type watched struct {
	*tlsconf.Source
	reports chan string // "changed" or the error
}

// watch starts Watch inside the bubble of the caller; it ends with the test.
func watch(t *testing.T, c tlsconf.Config) *watched {
	t.Helper()
	w := &watched{load(t, c), make(chan string, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Watch(ctx, time.Minute, w.report)
	}()
	t.Cleanup(func() {
		cancel()
		<-done // or synctest would call it a deadlock
	})
	return w
}

func (w *watched) report(changed bool, err error) {
	switch {
	case changed && err == nil:
		w.reports <- "changed"
	case !changed && err != nil:
		w.reports <- err.Error()
	default:
		w.reports <- "contradiction"
	}
}

// looks lets Watch look n times and returns what it reported meanwhile.
func (w *watched) looks(n int) (reports []string) {
	<-time.After(time.Duration(n) * time.Minute)
	synctest.Wait()
	for len(w.reports) > 0 {
		reports = append(reports, <-w.reports)
	}
	return reports
}

// expect checks that there is one report with each of want in it, in order.
func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got reports %q, want %q", got, want)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("got report %q, want %q", got[i], want[i])
		}
	}
}

func TestWatchReportsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := folder(t.TempDir())
		c := dir.config(t, issue(t, "a.example.org"))
		c.TicketKeyFile = dir.write(t, "tickets", ticketKey(1))
		w := watch(t, c)
		expect(t, w.looks(10))
		dir.config(t, issue(t, "b.example.org"))
		expect(t, w.looks(10), "changed")
		if !w.Serves("b.example.org") {
			t.Error("the new certificate is not served")
		}
		dir.write(t, "tickets", ticketKey(2))
		expect(t, w.looks(1), "changed")
	})
}

// A file written again with the same contents is no change, however new.
func TestWatchComparesContents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := folder(t.TempDir())
		pair := issue(t, "a.example.org")
		w := watch(t, dir.config(t, pair))
		dir.config(t, pair)
		expect(t, w.looks(2))

		// And one with another of the same size and time is.
		c := dir.config(t, pair)
		before, err := os.Stat(c.Certs[0])
		if err != nil {
			t.Fatal(err)
		}
		dir.config(t, issue(t, "b.example.org"))
		for _, file := range append(c.Certs, c.Keys...) {
			if err := os.Chtimes(file, before.ModTime(), before.ModTime()); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, w.looks(1), "changed")
	})
}

// An error is said once, tried again at each look, and said anew if it comes
// back after the files were good.
func TestWatchReportsErrorsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := folder(t.TempDir())
		pair := issue(t, "a.example.org")
		c := dir.config(t, pair)
		w := watch(t, c)
		dir.write(t, "0.key", []byte("no key"))
		expect(t, w.looks(10), c.Keys[0])
		if err := os.Remove(c.Certs[0]); err != nil {
			t.Fatal(err)
		}
		expect(t, w.looks(10), "read certificate") // another error
		dir.config(t, pair)
		expect(t, w.looks(1)) // as it was
		dir.write(t, "0.key", []byte("no key"))
		expect(t, w.looks(10), c.Keys[0]) // the first error again
		dir.config(t, issue(t, "b.example.org"))
		expect(t, w.looks(10), "changed")
	})
}

// Certbot and Kubernetes do not write files: they swap symbolic links, of
// which Kubernetes' is a directory.
func TestWatchFollowsLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		for _, version := range []string{"v1", "v2"} {
			if err := os.Mkdir(filepath.Join(root, version), 0o700); err != nil {
				t.Fatal(err)
			}
			folder(filepath.Join(root, version)).config(t, issue(t, version+".example.org"))
		}
		link := func(to string) {
			next := filepath.Join(root, "next")
			if err := os.Symlink(to, next); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, filepath.Join(root, "live")); err != nil {
				t.Fatal(err)
			}
		}
		link("v1")
		live := filepath.Join(root, "live")
		w := watch(t, tlsconf.Config{Certs: []string{filepath.Join(live, "0.crt")}, Keys: []string{filepath.Join(live, "0.key")}})
		link("v2")
		expect(t, w.looks(3), "changed")
		if w.Serves("v1.example.org") || !w.Serves("v2.example.org") {
			t.Error("the link was not followed")
		}
	})
}

// Watch returns when its context ends and says nothing about it.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := load(t, folder(t.TempDir()).config(t, issue(t, "a.example.org")))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.Watch(ctx, time.Minute, func(changed bool, err error) { t.Errorf("report: %t, %v", changed, err) })
	})
}
