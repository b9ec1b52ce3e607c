package proxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// testData is n bytes that differ with seed.
func testData(n int, seed byte) []byte {
	var b bytes.Buffer
	sum := sha256.Sum256([]byte{seed})
	for b.Len() < n {
		b.Write(sum[:])
		sum = sha256.Sum256(sum[:])
	}
	return b.Bytes()[:n]
}

// exchangeData sends data while it receives other data.
func exchangeData(client *peer, sends, wants []byte) error {
	client.SetDeadline(time.Now().Add(client.timeout))
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(sends)
		sent <- err
	}()
	got := make([]byte, len(wants))
	if n, err := io.ReadFull(client.r, got); err != nil || !bytes.Equal(got, wants) {
		return errors.Join(errors.New("received something else"), err, errors.New(string(got[:min(n, 40)])))
	}
	return <-sent
}

// Four million bytes are relayed each way at once.
func TestRelayLargeDataBothWays(t *testing.T) {
	up, down := testData(4_000_000, 1), testData(4_000_003, 2)
	for _, l := range []Listener{imapListener, imapsListener} {
		t.Run(l.Name, func(t *testing.T) {
			proxy := newTCPProxy(t, l, acceptLogin(func(b *peer) {
				if err := exchangeData(b, down, up); err != nil {
					t.Errorf("backend: got %v", err)
				}
				b.expectEOF()
			}))
			client, _ := proxy.connectGreeted(t)
			client.send("a1 LOGIN u p")
			client.expect("a1 OK in")
			if err := exchangeData(client, up, down); err != nil {
				t.Errorf("client: got %v", err)
			}
			client.Close()
			r := <-proxy.records
			if r.FromClient != int64(len(up)) || r.ToClient != int64(len(down)) || r.End != EndClient {
				t.Errorf("got %d bytes from the client, %d to it, end %v (%v), want %d, %d, %v", r.FromClient, r.ToClient, r.End, r.Err, len(up), len(down), EndClient)
			}
		})
	}
}

// Real sockets report the end of a connection in several ways.
func TestEndsOverTCP(t *testing.T) {
	for name, c := range map[string]struct {
		client  func(*peer, *net.TCPConn)
		backend func(*peer)
		end     End
	}{
		"client closes":       {func(client *peer, _ *net.TCPConn) { client.Close() }, (*peer).expectClosed, EndClient},
		"client resets":       {func(_ *peer, c *net.TCPConn) { c.SetLinger(0); c.Close() }, (*peer).expectClosed, EndClient},
		"client half-closes":  {func(client *peer, _ *net.TCPConn) { client.closeWrite(); client.expect("bye"); client.expectEOF() }, func(b *peer) { b.expectEOF(); b.send("bye") }, EndClient},
		"backend closes":      {func(client *peer, _ *net.TCPConn) { client.expectEOF(); client.Close() }, func(*peer) {}, EndBackend},
		"backend resets":      {func(client *peer, _ *net.TCPConn) { client.expectEOF() }, func(b *peer) { b.Conn.(*net.TCPConn).SetLinger(0) }, EndBackend},
		"backend half-closes": {func(client *peer, _ *net.TCPConn) { client.expectEOF(); client.Close() }, func(b *peer) { b.closeWrite(); b.expectClosed() }, EndBackend},
	} {
		for _, l := range []Listener{imapListener, imapsListener} {
			t.Run(name+" "+l.Name, func(t *testing.T) {
				proxy := newTCPProxy(t, l, acceptLogin(c.backend))
				client, tcp := proxy.connectGreeted(t)
				client.send("a1 LOGIN u p")
				client.expect("a1 OK in")
				c.client(client, tcp)
				select {
				case r := <-proxy.records:
					if r.End != c.end || r.Step != StepRelay {
						t.Errorf("got end %v in step %v (%v), want %v in %v", r.End, r.Step, r.Err, c.end, StepRelay)
					}
				case <-time.After(realTimeout):
					t.Error("the session has not ended")
				}
			})
		}
	}
}
