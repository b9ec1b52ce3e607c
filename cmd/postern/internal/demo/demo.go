// Package demo runs a gateway on loopback in front of a small mail server in the
// same process, for people who want to try postern, and plays users and an attack
// to it. It can have several gateways that share over an engine.
//
// Nothing that it makes remains after its end. The mail server is package
// standin's and not for production.
package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/daemon"
	"postern/limiter/traffic"
	"postern/proxy/standin"
)

// account may log in at the demo. Its password is no secret.
var account = standin.Account{Name: "demo", Secret: "gatekeeper", Messages: standin.Samples()}

// Options is what a demo needs from its process.
type Options struct {
	Environ     []string // its settings count, but for addresses, backends, certificate and what gateways share by
	Stdout, Log io.Writer
	Attack      bool // play users, and then attackers
	Gateways    int  // how many run; more than one share what they count and know; 0 means 1
}

// GatewaysMax is how many gateways a demo may have.
const GatewaysMax = 8

// Run runs a demo until ctx ends. It prints what to try.
func Run(ctx context.Context, o Options) error {
	dir, err := os.MkdirTemp("", "postern-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer os.RemoveAll(dir)
	var users []traffic.Login
	if o.Attack {
		users = knownUsers()
	}
	s, err := openSite(ctx, dir, max(o.Gateways, 1), users)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer s.close()
	if o.Attack {
		return o.attack(ctx, s, users)
	}
	ctx, cancel := context.WithCancel(ctx)
	var showing sync.WaitGroup
	defer showing.Wait()
	defer cancel()
	return o.run(ctx, s, func(gateways []*daemon.Daemon) {
		introduce(o.Stdout, gateways, s.dir)
		if len(gateways) > 1 {
			showing.Go(func() {
				o.showSharing(ctx, s, gateways, func(text string) { fmt.Fprintln(o.Stdout, "sharing: "+text) })
			})
		}
	})
}

// run runs the gateways of s until ctx ends or one fails. It calls ready once all accept
// connections.
func (o Options) run(ctx context.Context, s *site, ready func([]*daemon.Daemon)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gateways := make([]*daemon.Daemon, s.size)
	var starting, running sync.WaitGroup
	starting.Add(s.size)
	ended := make(chan error, s.size)
	for i := range s.size {
		running.Go(func() {
			started := false
			err := daemon.Run(ctx, daemon.Options{Environ: o.environ(s.settings(i)), Log: o.Log, Ready: func(d *daemon.Daemon) {
				gateways[i], started = d, true
				starting.Done()
			}})
			cancel() // the others, if it has failed
			if !started {
				starting.Done()
			}
			ended <- err
		})
	}
	running.Go(func() {
		if starting.Wait(); ctx.Err() == nil {
			ready(gateways)
		}
	})
	running.Wait()
	close(ended)
	var failed error
	for err := range ended {
		if failed == nil {
			failed = err
		}
	}
	return failed
}

// environ is the environment of a gateway: that of the process, with a log for
// people unless another is set, and own.
func (o Options) environ(own []string) []string {
	return slices.Concat([]string{config.Prefix + "LOG_FORMAT=text"}, o.Environ, own)
}

// pageText says where the page of the first gateway is, and with which token to log in there.
func pageText(d *daemon.Daemon, dir string) string {
	token, err := os.ReadFile(filepath.Join(stateDir(dir, 0), "admin-token"))
	if err != nil {
		return fmt.Sprintf("http://%s/", d.AdminAddr())
	}
	return fmt.Sprintf("http://%s/, log in with the token %s", d.AdminAddr(), strings.TrimSpace(string(token)))
}

// commandsText lists commands for another terminal.
func commandsText(d *daemon.Daemon, dir string, commands ...string) string {
	text := fmt.Sprintf("  export %sADMIN_LISTEN=%s %sADMIN_TOKEN_FILE=%s\n", config.Prefix, d.AdminAddr(), config.Prefix, filepath.Join(stateDir(dir, 0), "admin-token"))
	for _, c := range commands {
		text += "  go run ./cmd/postern " + c + "\n"
	}
	return text
}

// introduce prints where the demo listens and what to try.
func introduce(w io.Writer, gateways []*daemon.Daemon, dir string) {
	d, login := gateways[0], account.Name+":"+account.Secret
	fmt.Fprintf(w, `postern demo: a gateway in front of a small mail server, both in this process. Nothing is kept.

  IMAPS %s    IMAP %s with STARTTLS
  POP3S %s    POP3 %s with STLS
  page     %s
  metrics  http://%s/metrics
  account  %s, password %s; the certificate is self-signed

Read a message through postern:

  curl -sk --user %s 'imaps://%s/INBOX;MAILINDEX=1'

Try a wrong password and see the answer that a mail program gets; repeat it, and each answer takes longer:

  curl -skv --user %s:wrong imaps://%s/ 2>&1 | grep AUTHENTICATIONFAILED

See what happens on the page, or in another terminal:

%s
%sCtrl-C ends the demo. The log of postern follows.

`, d.Addr("imaps"), d.Addr("imap"), d.Addr("pop3s"), d.Addr("pop3"), pageText(d, dir), d.AdminAddr(),
		account.Name, account.Secret, login, d.Addr("imaps"), account.Name, d.Addr("imaps"), commandsText(d, dir, "top", "explain "+account.Name), othersText(gateways, dir))
}

// othersText says where the gateways other than the first are, and what to try with them;
// empty if there are none.
func othersText(gateways []*daemon.Daemon, dir string) string {
	if len(gateways) == 1 {
		return ""
	}
	text := "More gateways share with this one what they count and know:\n\n"
	for number, d := range gateways[1:] {
		text += fmt.Sprintf("  %s  IMAPS %s  admin %s, token in %s\n", gatewayName(number+1), d.Addr("imaps"), d.AdminAddr(), filepath.Join(stateDir(dir, number+1), "admin-token"))
	}
	second := gateways[1]
	return text + fmt.Sprintf(`
Try wrong passwords at one gateway and log in at another: what is spent at one is spent at all. Lines that begin with
"sharing:" say how the gateways count together. Ask the second one:

  curl -sk --user %s:%s imaps://%s/
  %sADMIN_LISTEN=%s %sADMIN_TOKEN_FILE=%s go run ./cmd/postern status

`, account.Name, account.Secret, second.Addr("imaps"), config.Prefix, second.AdminAddr(), config.Prefix, filepath.Join(stateDir(dir, 1), "admin-token"))
}
