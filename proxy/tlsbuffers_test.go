package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"
	"unsafe"

	"postern/proxy/socket"
)

// What is given back is found by name in crypto/tls. If this fails with a new
// version of Go, idle sessions in TLS have become larger: see what has changed.
func TestBuffersAreFound(t *testing.T) {
	if len(tlsBuffers) != 2 {
		t.Errorf("%d buffers found in tls.Conn, want 2", len(tlsBuffers))
	}
	if found := fieldOffsets[tls.Conn, bytes.Buffer]("input", "sendBuf", "noSuchField"); found != nil {
		t.Errorf("%v are no buffers", found)
	}
}

// Buffers are given back when they are empty, and what is left in one stays.
func TestBuffersAreDropped(t *testing.T) {
	near, far := newMemPair(clientAddr, gateAddr)
	end := socket.Wrap(far)
	secure := tls.Server(end, gateCert.Server())
	mail := noise(100_000, 1)
	go func() {
		client := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
		client.Write(mail)
	}()
	got := make([]byte, len(mail))
	if _, err := io.ReadFull(secure, got[:50_000]); err != nil {
		t.Fatal(err)
	}
	dropBuffers(secure)
	if _, err := io.ReadFull(secure, got[50_000:]); err != nil || !bytes.Equal(got, mail) {
		t.Errorf("after buffers were dropped: %v", err)
	}
	kept := 0
	for _, offset := range tlsBuffers {
		kept += (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(secure), offset)).Cap()
	}
	end.SetNonblock(true)
	if _, err := secure.Read(got); err != socket.ErrNothing {
		t.Errorf("read %v, want %v", err, socket.ErrNothing)
	}
	dropBuffers(secure)
	for _, offset := range tlsBuffers {
		if left := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(secure), offset)).Cap(); kept == 0 || left != 0 {
			t.Errorf("%d octets are kept, of %d before", left, kept)
		}
	}
}
