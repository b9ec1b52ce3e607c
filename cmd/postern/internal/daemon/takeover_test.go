package daemon

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/postern/internal/monitor"
)

// TestHandOverWithStateDir: the lock file names the process that has the lock.
func TestHandOverWithStateDir(t *testing.T) {
	dir := t.TempDir()
	g := start(t, prefix+"STATE_DIR="+dir)
	g.upgradeTo(t).ended(t)
	want := fmt.Sprintf("(process %d)", os.Getpid())
	if err := openWith(g.Environ); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestHandOverAnswersRequests: a process that has handed over answers the requests under way before it ends.
func TestHandOverAnswersRequests(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin")
	g := start(t, prefix+"ADMIN_LISTEN=unix:"+socket)
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	answered := make(chan error, 1)
	go func() {
		answer, err := client.Post("http://localhost/v1/reload", "application/json", strings.NewReader("{}"))
		if err == nil {
			answer.Body.Close()
		}
		answered <- err
	}()
	request := <-g.reloads
	u := g.upgradeTo(t)
	go func() {
		<-u.retired
		g.close()
	}()
	u.await(t, func(all []monitor.Generation) bool { return len(all) == 1 })
	request.done <- reloadResult{}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	u.ended(t)
}
