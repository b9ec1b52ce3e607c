package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"postern/bench/backend"
	"postern/bench/client"
	"postern/bench/peer"
	"postern/proxy/standin"
)

// house is what stands around targets that the bench starts itself: a folder, a
// certificate, and the mail server in a process of its own.
type house struct {
	dir       string
	cert, key string
	pem       string      // what is in cert
	tls       *tls.Config // of clients
	program   string      // of which the mail server and the callers of a flood are processes
	server    *exec.Cmd
	stop      io.Closer
	addrs     backend.Addrs
	announce  bool
	logLogins bool
}

// insideHouse is in the environment of every process that a house starts for
// itself, so that a program which does not know that it was called to be one
// cannot start another, and so on.
const insideHouse = "BENCH_INSIDE"

// openHouse starts the mail server by calling program with the argument
// "backend" and two files. close ends it.
func openHouse(program string, announce, logLogins bool) (h *house, err error) {
	if os.Getenv(insideHouse) != "" {
		return nil, errors.New("this process is part of a house itself")
	}
	h = &house{program: program, announce: announce, logLogins: logLogins}
	defer func() {
		if err != nil {
			h.close()
			h, err = nil, fmt.Errorf("stand-in mail server: %w", err)
		}
	}()
	if h.dir, err = os.MkdirTemp("", "postern-bench-"); err != nil {
		return h, err
	}
	if err := os.Chmod(h.dir, 0o755); err != nil { // targets give up their rights
		return h, err
	}
	cert, err := standin.NewCertificate("localhost", "127.0.0.1")
	if err != nil {
		return h, err
	}
	if h.cert, h.key, err = cert.Write(h.dir, "bench"); err != nil {
		return h, err
	}
	h.pem = string(cert.CertPEM)
	if h.tls, err = expect(cert.CertPEM); err != nil {
		return h, err
	}
	return h, h.startServer()
}

// startServer runs the mail server, which says on its output where it listens
// and ends with its input.
func (h *house) startServer() error {
	h.server = exec.Command(h.program, "backend", h.cert, h.key)
	h.server.Stderr = os.Stderr
	h.server.Env = append(os.Environ(), insideHouse+"=yes")
	h.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to hear
	in, err := h.server.StdinPipe()
	if err != nil {
		return err
	}
	out, err := h.server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := h.server.Start(); err != nil {
		return err
	}
	h.stop = in
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, &h.addrs)
}

// RunBackend is the process that openHouse starts: it serves until in ends.
func RunBackend(certFile, keyFile string, in io.Reader, out io.Writer) error {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	server, err := backend.Serve(&tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		return err
	}
	defer server.Close()
	if err := json.NewEncoder(out).Encode(server.Addrs); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// expect returns what clients demand: this certificate and no other. They offer
// one key exchange, X25519, so that every target does the same work.
func expect(certPEM []byte) (*tls.Config, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, errors.New("no certificate")
	}
	want, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		ServerName:         "localhost",
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		InsecureSkipVerify: true, // in favour of a comparison, which costs nothing
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(want) {
				return errors.New("another certificate than the one made for this run")
			}
			return nil
		},
	}, nil
}

// close ends the mail server and removes the folder.
func (h *house) close() {
	if h.stop != nil {
		h.stop.Close()
		_ = h.server.Wait()
	}
	if h.dir != "" {
		os.RemoveAll(h.dir)
	}
}

// start runs a target of that kind for a work. The caller stops it.
func (h *house) start(ctx context.Context, k peer.Kind, w Work) (*Target, *peer.Target, error) {
	dir, err := os.MkdirTemp(h.dir, k.Name+"-")
	if err != nil {
		return nil, nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, nil, err
	}
	state, err := memory(time.Now(), w.Known, h.direct(w).From)
	if err != nil {
		return nil, nil, err
	}
	p, err := k.Start(ctx, peer.Setup{
		Dir: dir, Cert: h.cert, Key: h.key, Announce: h.announce || w.Announce, LogLogins: h.logLogins, Settings: w.Settings, State: state,
		Backend: peer.Backend{
			IMAP: h.addrs.IMAP, POP3: h.addrs.POP3, ProxiedIMAP: h.addrs.ProxiedIMAP, ProxiedPOP3: h.addrs.ProxiedPOP3,
			Auth: "http://" + h.addrs.Control + "/auth",
		},
	})
	if err != nil {
		return nil, nil, err
	}
	t := h.target(k.Name, p.Pid, h.announce || w.Announce, p.StartTLS, backend.Addrs{IMAP: p.IMAP, IMAPS: p.IMAPS, POP3: p.POP3, POP3S: p.POP3S})
	t.tidy = p.Tidy
	return t, p, nil
}

// direct is the name of the target that is the mail server with nothing in
// front.
const direct = "direct"

// direct returns that target for a work.
func (h *house) direct(w Work) *Target {
	a, announce := h.addrs, h.announce || w.Announce
	if announce {
		a.IMAP, a.IMAPS, a.POP3, a.POP3S = a.ProxiedIMAP, a.ProxiedIMAPS, a.ProxiedPOP3, a.ProxiedPOP3S
	}
	return h.target(direct, h.server.Process.Pid, announce, true, a)
}

// target describes a target of this house.
func (h *house) target(name string, pid int, announce, startTLS bool, a backend.Addrs) *Target {
	t := &Target{Name: name, Backend: &backend.Control{Addr: h.addrs.Control}, pid: pid, loopback: true, announce: announce, tls: h.tls, doors: map[door]string{
		{client.IMAP, client.Plain}: a.IMAP, {client.IMAP, client.TLS}: a.IMAPS, {client.IMAP, client.Resumed}: a.IMAPS,
		{client.POP3, client.Plain}: a.POP3, {client.POP3, client.TLS}: a.POP3S, {client.POP3, client.Resumed}: a.POP3S,
	}}
	t.flood = func(ctx context.Context, f Flood) (*Flooded, error) {
		f.Addr, f.Certificate = a.IMAPS, h.pem
		return h.flood(ctx, f)
	}
	if startTLS {
		t.doors[door{client.IMAP, client.StartTLS}] = a.IMAP
		t.doors[door{client.POP3, client.StartTLS}] = a.POP3
	}
	return t
}
