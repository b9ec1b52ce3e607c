package standin

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
)

// shake lets a client and a server shake hands.
func shake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	ln := listen(t)
	defer ln.Close()
	c := dial(t, ln.Addr()) // over a pipe both may wait to write
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		defer s.Close()
		served <- tls.Server(s, server).Handshake()
	}()
	err = tls.Client(c, client).Handshake()
	c.Close()
	<-served
	return err
}

func TestCertificate(t *testing.T) {
	cert, err := NewCertificate("mail.example.org", "127.0.0.1", "::1")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mail.example.org", "127.0.0.1", "::1"} {
		client := cert.Client()
		client.ServerName = name
		if err := shake(t, client, cert.Server()); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	client := cert.Client()
	client.ServerName = "other.example.org"
	if err := shake(t, client, cert.Server()); err == nil {
		t.Error("accepted as other.example.org")
	}
	other, err := NewCertificate("mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	if err := shake(t, other.Client(), cert.Server()); err == nil {
		t.Error("accepted by a client that trusts another certificate")
	}
}

func TestCertificateWrite(t *testing.T) {
	cert, err := NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile, err := cert.Write(dir, "demo")
	if err != nil || certFile != filepath.Join(dir, "demo.crt") || keyFile != filepath.Join(dir, "demo.key") {
		t.Fatalf("wrote %s, %s, %v", certFile, keyFile, err)
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(keyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	for _, missing := range []string{filepath.Join(dir, "missing"), keyFile} {
		if _, _, err := cert.Write(missing, "demo"); err == nil {
			t.Errorf("wrote into %s", missing)
		}
	}
}

func TestCertificateNeedsAName(t *testing.T) {
	if _, err := NewCertificate(); err == nil {
		t.Error("made a certificate for nobody")
	}
}
