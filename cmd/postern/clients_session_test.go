//go:build linux

package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"path/filepath"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// bigMessage returns a message of about n octets that are easily changed: all
// octets that mail may have, lines that begin with dots, and random ones.
func bigMessage(n int) []byte {
	var m bytes.Buffer
	m.WriteString("Subject: noise\r\n\r\n")
	for octet := 1; octet < 256; octet++ {
		if octet != '\r' && octet != '\n' {
			m.WriteByte(byte(octet))
		}
	}
	m.WriteString("\r\n.\r\n..\r\n.dot\r\n+OK\r\n* BYE\r\na OK\r\n\r\n")
	noise := make([]byte, 57)
	for m.Len() < n {
		_, _ = rand.Read(noise)
		m.WriteString(base64.StdEncoding.EncodeToString(noise) + "\r\n")
	}
	return m.Bytes()
}

// deliver puts a message into the inbox, by APPEND.
func (v programRun) deliver(t *testing.T, message []byte) {
	t.Helper()
	curl.need(t)
	file := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(file, message, 0o600); err != nil {
		t.Fatal(err)
	}
	r := runProgram(t, t.TempDir(), nil, "curl", "-sSv", "--cacert", v.CA, "--user", v.User+":"+v.Secret, "-T", file, fmt.Sprintf("imaps://localhost:%s/INBOX", v.Port))
	if r.code != 0 {
		t.Fatalf("APPEND: exit %d\n%s", r.code, r.text)
	}
}

// readFull reads octets, as the body of a message.
func readFull(c *testbed.Client, p []byte) error {
	_, err := io.ReadFull(c.R, p)
	return err
}

// TestBigMessage stores a message of 5 MB and reads it back unchanged by every
// listener.
func TestBigMessage(t *testing.T) {
	g := startBefore(t, dovecot.Get(t))
	v := newRun(t, "imaps", g.Addr("imaps"), g.CertFile)
	v.User = "filer"
	message := bigMessage(5 << 20)
	v.deliver(t, message)
	for _, listener := range listenerNames {
		v := newRun(t, listener, g.Addr(listener), g.CertFile)
		file, folder := filepath.Join(t.TempDir(), "got"), ""
		if v.Protocol == "IMAP" {
			folder = "INBOX;MAILINDEX="
		}
		r := runProgram(t, t.TempDir(), nil, "curl", "-sS", "--ssl-reqd", "--cacert", v.CA, "--user", "filer:pass", "-o", file, fmt.Sprintf("%s://localhost:%s/%s1", listener, v.Port, folder))
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%s: exit %d, %d octets instead of %d, %v\n%s", listener, r.code, len(got), len(message), err, r.text)
		}
	}
}

// TestIdle: a client in IDLE is notified of new messages.
func TestIdle(t *testing.T) {
	g := startBefore(t, dovecot.Get(t))
	c := g.dial(t, "imaps")
	c.Say("a LOGIN waiter pass", "a OK")
	c.Say("b SELECT INBOX", "b OK")
	c.Say("c IDLE", "+ ")
	v := newRun(t, "imaps", g.Addr("imaps"), g.CertFile)
	v.User = "waiter"
	for _, want := range []string{"* 1 EXISTS", "* 2 EXISTS"} {
		v.deliver(t, []byte("Subject: news\r\n\r\nnews\r\n"))
		c.Until(want)
	}
	c.Say("DONE", "c OK")
	c.Say("d LOGOUT", "d OK")
}

// TestCompress: nothing is lost when Dovecot and a client begin COMPRESS=DEFLATE
// through postern.
func TestCompress(t *testing.T) {
	d := dovecot.Get(t)
	g := startBefore(t, d)
	c := g.dial(t, "imaps")
	c.Say("a LOGIN user pass", "COMPRESS=DEFLATE")
	c.Say("b COMPRESS DEFLATE", "b OK")
	deflate, err := flate.NewWriter(c.W, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	packed := textproto.Conn{Reader: *textproto.NewReader(bufio.NewReader(flate.NewReader(c.R)))}
	fmt.Fprintf(deflate, "c SELECT INBOX\r\nd FETCH 1 BODY.PEEK[]\r\ne LOGOUT\r\n")
	deflate.Flush()
	c.W.Flush()
	inside := &testbed.Client{Conn: &packed, T: t}
	inside.Until("c OK")
	inside.Until("* 1 FETCH")
	got := make([]byte, len(d.Accounts[0].Messages[0]))
	if err := readFull(inside, got); err != nil || !bytes.Equal(got, d.Accounts[0].Messages[0]) {
		t.Errorf("got %q, %v", got, err)
	}
	inside.Until("d OK")
	inside.Until("e OK")
}
