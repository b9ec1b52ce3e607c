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

// watched is a Source whose Watch polls once a minute of the fake clock.
type watched struct {
	*tlsconf.Source
	reports chan string // "changed" or the error
}

// watch starts Watch inside a synctest bubble. It ends with the test.
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
		<-done // synctest fails while a goroutine is left
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
		w.reports <- "invalid report"
	}
}

// polls waits for n polls and returns what they reported.
func (w *watched) polls(n int) (reports []string) {
	<-time.After(time.Duration(n) * time.Minute)
	synctest.Wait()
	for len(w.reports) > 0 {
		reports = append(reports, <-w.reports)
	}
	return reports
}

// expectReports checks that got has one report for each of want, which contains it.
func expectReports(t *testing.T, got []string, want ...string) {
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
		dir := testDir(t.TempDir())
		c := dir.config(t, issue(t, "a.example.org"))
		c.TicketKeyFile = dir.write(t, "tickets", ticketKey(1))
		w := watch(t, c)
		expectReports(t, w.polls(10))
		dir.config(t, issue(t, "b.example.org"))
		expectReports(t, w.polls(10), "changed")
		if !w.Serves("b.example.org") {
			t.Error("the new certificate is not served")
		}
		dir.write(t, "tickets", ticketKey(2))
		expectReports(t, w.polls(1), "changed")
	})
}

// Contents decide whether a file has changed, not its size or time.
func TestWatchComparesContents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := testDir(t.TempDir())
		pair := issue(t, "a.example.org")
		w := watch(t, dir.config(t, pair))
		dir.config(t, pair)
		expectReports(t, w.polls(2))

		// Other contents with the same size and time are a change.
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
		expectReports(t, w.polls(1), "changed")
	})
}

// An error is reported once, and again after the files were valid.
func TestWatchReportsErrorsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := testDir(t.TempDir())
		pair := issue(t, "a.example.org")
		c := dir.config(t, pair)
		w := watch(t, c)
		dir.write(t, "0.key", []byte("no key"))
		expectReports(t, w.polls(10), c.Keys[0])
		if err := os.Remove(c.Certs[0]); err != nil {
			t.Fatal(err)
		}
		expectReports(t, w.polls(10), "read certificate") // another error
		dir.config(t, pair)
		expectReports(t, w.polls(1)) // valid, and the same as at the start
		dir.write(t, "0.key", []byte("no key"))
		expectReports(t, w.polls(10), c.Keys[0]) // the first error again
		dir.config(t, issue(t, "b.example.org"))
		expectReports(t, w.polls(10), "changed")
	})
}

// Certbot and Kubernetes replace symbolic links, Kubernetes that of the directory.
func TestWatchFollowsSymlinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		for _, version := range []string{"v1", "v2"} {
			if err := os.Mkdir(filepath.Join(root, version), 0o700); err != nil {
				t.Fatal(err)
			}
			testDir(filepath.Join(root, version)).config(t, issue(t, version+".example.org"))
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
		expectReports(t, w.polls(3), "changed")
		if w.Serves("v1.example.org") || !w.Serves("v2.example.org") {
			t.Error("the symbolic link was not followed")
		}
	})
}

// Watch returns without a report when its context is done.
func TestWatchEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := load(t, testDir(t.TempDir()).config(t, issue(t, "a.example.org")))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.Watch(ctx, time.Minute, func(changed bool, err error) { t.Errorf("got report %t, %v, want none", changed, err) })
	})
}
