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
)

// bigMessage returns a message of about n octets that nothing on the way may
// change: all octets that mail may have, lines that begin with dots, and noise.
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
func (v visit) deliver(t *testing.T, message []byte) {
	t.Helper()
	curl.need(t)
	file := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(file, message, 0o600); err != nil {
		t.Fatal(err)
	}
	r := runProgram(t, t.TempDir(), "curl", "-sSv", "--cacert", v.CA, "--user", v.User+":"+v.Secret, "-T", file, fmt.Sprintf("imaps://localhost:%s/INBOX", v.Port))
	if r.code != 0 {
		t.Fatalf("APPEND: exit %d\n%s", r.code, r.text)
	}
}

// read reads octets, as the body of a message.
func (c *client) read(p []byte) error {
	_, err := io.ReadFull(c.R, p)
	return err
}

// TestBigMessage stores a message of 5 MB and reads it back, to the octet, by
// every door.
func TestBigMessage(t *testing.T) {
	h := newHouseBefore(t, dovecot.Get(t))
	v := visitTo(t, "imaps", h.at("imaps"), h.ca())
	v.User = "filer"
	message := bigMessage(5 << 20)
	v.deliver(t, message)
	for _, door := range doorNames {
		v := visitTo(t, door, h.at(door), h.ca())
		file, folder := filepath.Join(t.TempDir(), "got"), ""
		if v.Protocol == "IMAP" {
			folder = "INBOX;MAILINDEX="
		}
		r := runProgram(t, t.TempDir(), "curl", "-sS", "--ssl-reqd", "--cacert", v.CA, "--user", "filer:pass", "-o", file, fmt.Sprintf("%s://localhost:%s/%s1", door, v.Port, folder))
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%s: exit %d, %d octets instead of %d, %v\n%s", door, r.code, len(got), len(message), err, r.text)
		}
	}
}

// TestIdle: a message that arrives is told to a client that waits for it.
func TestIdle(t *testing.T) {
	h := newHouseBefore(t, dovecot.Get(t))
	c := h.dial(t, "imaps")
	c.say("a LOGIN waiter pass", "a OK")
	c.say("b SELECT INBOX", "b OK")
	c.say("c IDLE", "+ ")
	v := visitTo(t, "imaps", h.at("imaps"), h.ca())
	v.User = "waiter"
	for _, want := range []string{"* 1 EXISTS", "* 2 EXISTS"} {
		v.deliver(t, []byte("Subject: news\r\n\r\nnews\r\n"))
		c.until(want)
	}
	c.say("DONE", "c OK")
	c.say("d LOGOUT", "d OK")
}

// TestCompress: COMPRESS=DEFLATE begins behind the gate and nothing of it is
// lost on the way.
func TestCompress(t *testing.T) {
	d := dovecot.Get(t)
	h := newHouseBefore(t, d)
	c := h.dial(t, "imaps")
	c.say("a LOGIN user pass", "COMPRESS=DEFLATE")
	c.say("b COMPRESS DEFLATE", "b OK")
	deflate, err := flate.NewWriter(c.W, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	packed := textproto.Conn{Reader: *textproto.NewReader(bufio.NewReader(flate.NewReader(c.R)))}
	fmt.Fprintf(deflate, "c SELECT INBOX\r\nd FETCH 1 BODY.PEEK[]\r\ne LOGOUT\r\n")
	deflate.Flush()
	c.W.Flush()
	inside := &client{&packed, t}
	inside.until("c OK")
	inside.until("* 1 FETCH")
	got := make([]byte, len(d.Accounts[0].Messages[0]))
	if err := inside.read(got); err != nil || !bytes.Equal(got, d.Accounts[0].Messages[0]) {
		t.Errorf("got %q, %v", got, err)
	}
	inside.until("d OK")
	inside.until("e OK")
}
