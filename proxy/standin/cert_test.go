package standin_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"postern/proxy/standin"
)

// handshake makes a TLS handshake over loopback and returns the error of the client.
func handshake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	ln := listen(t)
	defer ln.Close()
	c := dial(t, ln.Addr()) // not a pipe: there both ends may wait for the other to read
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

func TestCertificateIsTrustedForItsNames(t *testing.T) {
	cert, err := standin.NewCertificate("mail.example.org", "127.0.0.1", "::1")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mail.example.org", "127.0.0.1", "::1"} {
		client := cert.Client()
		client.ServerName = name
		if err := handshake(t, client, cert.Server()); err != nil {
			t.Errorf("server name %s: %v", name, err)
		}
	}
	client := cert.Client()
	client.ServerName = "other.example.org"
	if err := handshake(t, client, cert.Server()); err == nil {
		t.Error("accepted for other.example.org")
	}
	other, err := standin.NewCertificate("mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, other.Client(), cert.Server()); err == nil {
		t.Error("accepted by a client that trusts another certificate")
	}
}

func TestCertificateWrite(t *testing.T) {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile, err := cert.Write(dir, "demo")
	if err != nil || certFile != filepath.Join(dir, "demo.crt") || keyFile != filepath.Join(dir, "demo.key") {
		t.Fatalf("got %s, %s, %v, want demo.crt and demo.key in %s", certFile, keyFile, err, dir)
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(keyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the key file: got %v, %v, want 0600", info.Mode(), err)
	}
	for _, missing := range []string{filepath.Join(dir, "missing"), keyFile} {
		if _, _, err := cert.Write(missing, "demo"); err == nil {
			t.Errorf("write to %s: got no error", missing)
		}
	}
}

func TestCertificateNeedsName(t *testing.T) {
	if _, err := standin.NewCertificate(); err == nil {
		t.Error("no name: got no error")
	}
}
