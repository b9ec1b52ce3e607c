package engine

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// open returns a client that is closed with the test. Its calls fail on no machine for being slow: tests of deadlines set callMax.
func open(t *testing.T, c Config) *Client {
	t.Helper()
	client, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	client.callMax = testbed.Patience
	return client
}

func TestCommands(t *testing.T) {
	testbed.EachEngine(t, func(t *testing.T, program string) {
		e := testbed.StartEngine(t, program)
		for _, url := range []string{e.URL(), e.SocketURL()} {
			e.Do("FLUSHALL")
			c := open(t, Config{URL: url, Name: "gw-1"})
			checkStreams(t, c)
			checkKeys(t, c)
			if now, err := c.Time(t.Context()); err != nil || time.Since(now).Abs() > time.Minute {
				t.Errorf("TIME: got %v, %v", now, err)
			}
			if list := e.Do("CLIENT", "LIST"); bytes.Count([]byte(list), []byte("name=gw-1 ")) != 2 {
				t.Errorf("got these connections, want two with the name gw-1:\n%s", list)
			}
			c.Close()
		}
	})
}

// checkStreams checks the calls that are about streams.
func checkStreams(t *testing.T, c *Client) {
	t.Helper()
	ctx := t.Context()
	if entries, err := c.Read(ctx, []Position{{Key: "s:1"}}, 0); err != nil || len(entries) != 0 {
		t.Errorf("empty stream: got %d entries, %v, want none", len(entries), err)
	}
	binary := []byte("\x00\xff\r\n$5\r\n")
	first, err := c.Add(ctx, "s:1", binary, 100)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Add(ctx, "s:2", bytes.Repeat([]byte{1}, 40<<10), 100)
	if err != nil {
		t.Fatal(err)
	}
	if first.Time().Before(time.Now().Add(-time.Minute)) || second.Time().Before(first.Time()) {
		t.Errorf("got the IDs %v and %v", first, second)
	}
	entries, err := c.Read(ctx, []Position{{Key: "s:1"}, {Key: "s:2"}}, time.Minute)
	if err != nil || len(entries) != 2 {
		t.Fatalf("got %d entries, %v, want 2", len(entries), err)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return a.Stream - b.Stream })
	if e := entries[0]; e.ID != first || !bytes.Equal(e.Data, binary) {
		t.Errorf("got %+v, want ID %v and the data", e, first)
	}
	if e := entries[1]; e.ID != second || e.Stream != 1 || len(e.Data) != 40<<10 {
		t.Errorf("got stream %d, ID %v, %d octets", e.Stream, e.ID, len(e.Data))
	}
	if entries, err = c.Read(ctx, []Position{{"s:1", first}, {"s:2", second}}, 0); err != nil || len(entries) != 0 {
		t.Errorf("got %d entries, %v, want none", len(entries), err)
	}
	if err := c.Trim(ctx, "s:1", 0); err != nil {
		t.Error(err)
	}
	if entries, err = c.Read(ctx, []Position{{Key: "s:1"}}, 0); err != nil || len(entries) != 0 {
		t.Errorf("after a trim: got %d entries, %v, want none", len(entries), err)
	}
}

// checkKeys checks the calls that are about plain keys.
func checkKeys(t *testing.T, c *Client) {
	t.Helper()
	ctx := t.Context()
	if v, err := c.Get(ctx, "k"); err != nil || v != nil {
		t.Errorf("no key: got %q, %v", v, err)
	}
	if is, err := c.SetXX(ctx, "k", []byte("1"), time.Minute); err != nil || is {
		t.Errorf("SetXX without a key: got %v, %v", is, err)
	}
	if is, err := c.SetNX(ctx, "k", []byte("2"), time.Minute); err != nil || !is {
		t.Errorf("SetNX without a key: got %v, %v", is, err)
	}
	if is, err := c.SetNX(ctx, "k", []byte("3"), time.Minute); err != nil || is {
		t.Errorf("SetNX with a key: got %v, %v", is, err)
	}
	if is, err := c.SetXX(ctx, "k", []byte("4"), time.Minute); err != nil || !is {
		t.Errorf("SetXX with a key: got %v, %v", is, err)
	}
	if v, err := c.Get(ctx, "k"); err != nil || string(v) != "4" {
		t.Errorf("got %q, %v, want 4", v, err)
	}
	chunk := bytes.Repeat([]byte{0, 1, 2, 3}, 64<<10)
	if err := c.Set(ctx, "k", chunk, time.Minute); err != nil {
		t.Error(err)
	}
	if v, err := c.Get(ctx, "k"); err != nil || !bytes.Equal(v, chunk) {
		t.Errorf("got %d octets, %v, want %d", len(v), err, len(chunk))
	}
	if err := c.Del(ctx, "k", "other"); err != nil {
		t.Error(err)
	}
	if v, err := c.Get(ctx, "k"); err != nil || v != nil {
		t.Errorf("after Del: got %q, %v", v, err)
	}
}
