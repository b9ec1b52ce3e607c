package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/recent"
	"postern/cmd/postern/internal/testbed"
	"postern/cmd/postern/internal/view"
)

// TestChangedSeconds has those that are new or differ.
func TestChangedSeconds(t *testing.T) {
	last := []recent.Second{{Time: 1, Known: 1}, {Time: 2, Known: 2}, {Time: 4, Known: 4}}
	series := []recent.Second{{Time: 2, Known: 2}, {Time: 3, Known: 3}, {Time: 4, Known: 5}, {Time: 5}}
	want := []recent.Second{{Time: 3, Known: 3}, {Time: 4, Known: 5}, {Time: 5}}
	got := changed(series, last)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if merged := merge(slices.Clone(last), got, 2); !slices.Equal(merged, series) {
		t.Errorf("merged: got %v, want %v", merged, series)
	}
}

// TestClientLive gives each view the whole series, until the server ends.
func TestClientLive(t *testing.T) {
	s := startWithTokens(t)
	c, err := config.Load(testbed.Environ("POSTERN_ADMIN_LISTEN="+s.Addr().String(), "POSTERN_ADMIN_TOKEN_FILE="+testbed.WriteFile(t, operatorToken)))
	client, err := NewOperatorClient(c, err, testbed.Patience)
	if err != nil {
		t.Fatal(err)
	}
	var lengths []int
	err = client.Live(t.Context(), func(v *view.View) error {
		lengths = append(lengths, len(v.Series))
		if v.Detail == nil {
			t.Error("got no detail")
		}
		if len(lengths) == 2 {
			go s.Retire()
		}
		return nil
	})
	if err != io.EOF || fmt.Sprint(lengths[:2]) != "[2 3]" {
		t.Errorf("got %v, lengths %v", err, lengths)
	}
}

// TestClientLiveStops when its function fails, or the server refuses it or sends nothing.
func TestClientLiveStops(t *testing.T) {
	s := startWithTokens(t)
	client := &Client{addr: s.Addr().String(), http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Addr().String())
		},
	}}, token: "wrong"}
	var p *Problem
	if err := client.Live(t.Context(), nil); !errors.As(err, &p) || p.Status != http.StatusUnauthorized {
		t.Errorf("wrong token: got %v", err)
	}
	client.token = readerToken
	enough := errors.New("enough")
	if err := client.Live(t.Context(), func(*view.View) error { return enough }); err != enough {
		t.Errorf("enough: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := client.Live(ctx, func(*view.View) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go io.Copy(io.Discard, far)
		mute := &Client{addr: "mute", http: &http.Client{Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil },
		}}}
		began := time.Now()
		if err := mute.Live(t.Context(), nil); !errors.Is(err, errLost) || time.Since(began) != liveTimeout {
			t.Errorf("mute: got %v after %v", err, time.Since(began))
		}
		far.Close()
	})
}
