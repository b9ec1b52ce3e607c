package bench

import (
	"bufio"
	"bytes"
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

	"postern/bench/backend"
	"postern/bench/client"
	"postern/proxy/standin"
)

// testbed is what all local targets share: a temporary folder, a certificate,
// and the stand-in mail server in a process of its own.
type testbed struct {
	dir         string
	cert, key   string      // PEM files
	certPEM     []byte      // content of cert
	tls         *tls.Config // of clients
	program     string      // this program, which also runs as mail server and as clients of a flood
	server      *exec.Cmd
	stdin       io.Closer // of the server, which ends when this is closed
	addrs       backend.Addrs
	proxyHeader bool
	logLogins   bool
}

// insideTestbed is set in the environment of the processes of a testbed. A
// program that ignores the arguments it was started with cannot start itself
// over and over.
const insideTestbed = "BENCH_INSIDE"

// openTestbed starts the mail server by running program with the arguments
// "backend", certificate and key. The caller closes the testbed.
func openTestbed(program string, proxyHeader, logLogins bool) (tb *testbed, err error) {
	if os.Getenv(insideTestbed) != "" {
		return nil, fmt.Errorf("%s is set: this process is part of a testbed and cannot open another", insideTestbed)
	}
	tb = &testbed{program: program, proxyHeader: proxyHeader, logLogins: logLogins}
	defer func() {
		if err != nil {
			tb.close()
			tb, err = nil, fmt.Errorf("stand-in mail server: %w", err)
		}
	}()
	if tb.dir, err = os.MkdirTemp("", "postern-bench-"); err != nil {
		return tb, err
	}
	if err := os.Chmod(tb.dir, 0o755); err != nil { // some targets drop root
		return tb, err
	}
	cert, err := standin.NewCertificate("localhost", "127.0.0.1")
	if err != nil {
		return tb, err
	}
	if tb.cert, tb.key, err = cert.Write(tb.dir, "bench"); err != nil {
		return tb, err
	}
	tb.certPEM = cert.CertPEM
	if tb.tls, err = expectCertificate(cert.CertPEM); err != nil {
		return tb, err
	}
	return tb, tb.startServer()
}

// startServer runs the mail server, which writes its addresses to its output
// as JSON and ends when its input does.
func (tb *testbed) startServer() error {
	tb.server = tb.command(context.Background(), "backend", tb.cert, tb.key)
	tb.server.Stderr = os.Stderr
	in, err := tb.server.StdinPipe()
	if err != nil {
		return err
	}
	out, err := tb.server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := tb.server.Start(); err != nil {
		return err
	}
	tb.stdin = in
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read its addresses: %w", err)
	}
	return json.Unmarshal(line, &tb.addrs)
}

// command prepares a process of this testbed. It has a process group of its
// own, so that Ctrl-C reaches only the bench.
func (tb *testbed) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, tb.program, args...)
	cmd.Env = append(os.Environ(), insideTestbed+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// close ends the mail server and removes the folder.
func (tb *testbed) close() {
	if tb.stdin != nil {
		tb.stdin.Close()
		_ = tb.server.Wait()
	}
	if tb.dir != "" {
		os.RemoveAll(tb.dir)
	}
}

// RunBackend is the mail server's process: it writes its addresses to out as
// JSON and serves until in ends.
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

// flood runs the clients of a flood as a process, which ends early when its
// input does, that is, at the latest with this process.
func (tb *testbed) flood(ctx context.Context, f floodConfig) (*floodResult, error) {
	config, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	cmd := tb.command(ctx, "flood", string(config))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("clients of the flood: %w\n%s", err, errs.Bytes())
	}
	var r floodResult
	return &r, json.Unmarshal(out.Bytes(), &r)
}

// RunFlood is the process of a flood's clients: it runs a flood that config
// describes in JSON and writes the result to out. When in ends, it stops.
func RunFlood(config string, in io.Reader, out io.Writer) error {
	var f floodConfig
	if err := json.Unmarshal([]byte(config), &f); err != nil {
		return err
	}
	t := &target{listeners: map[listener]string{{client.IMAP, client.TLS}: f.Addr}, loopback: true}
	var err error
	if t.tls, err = expectCertificate([]byte(f.Certificate)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	r, err := f.run(ctx, t)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// expectCertificate returns a client configuration that accepts this
// certificate only. It offers one key exchange, X25519, so that all targets do
// the same work.
func expectCertificate(certPEM []byte) (*tls.Config, error) {
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
		InsecureSkipVerify: true, // VerifyConnection compares instead, which is cheaper
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(want) {
				return errors.New("the certificate is not the one made for this run")
			}
			return nil
		},
	}, nil
}
