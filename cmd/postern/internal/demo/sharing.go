package demo

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/daemon"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/explain"
	"postern/cmd/postern/internal/monitor"
	"postern/limiter/traffic"
)

const (
	askTimeout = 10 * time.Second // of a gateway, to answer
	askEvery   = time.Second      // between questions how the gateways count together
)

// guesses are the wrong passwords that the demo tries at the first gateway.
var guesses = []string{"password", "123456", "letmein"}

// guesser is the address from which it does.
var guesser = netip.AddrFrom4([4]byte{127, 66, 6, 6})

// operators are clients of the admin APIs of all gateways.
func (o Options) operators(s *site, gateways []*daemon.Daemon) (all []*admin.Client, err error) {
	for number, d := range gateways {
		c, err := config.Load(append(o.environ(s.settings(number)), config.Prefix+"ADMIN_LISTEN="+d.AdminAddr().String()))
		client, err := admin.NewOperatorClient(c, err, askTimeout)
		if err != nil {
			return nil, err
		}
		all = append(all, client)
	}
	return all, nil
}

// showSharing prints how the gateways count together, until ctx ends, and what wrong
// passwords at the first one do at the second. print prints one line.
func (o Options) showSharing(ctx context.Context, s *site, gateways []*daemon.Daemon, print func(text string)) {
	operators, err := o.operators(s, gateways)
	if err != nil {
		print(err.Error())
		return
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	former := ""
	guessed := 0 // 1 after the guesses, 2 after the answer of the second gateway
	for {
		now, all := describeSharing(ctx, operators)
		if ctx.Err() != nil {
			return
		}
		if now != former {
			print(now)
			former = now
		}
		switch {
		case o.Attack || guessed == 0 && !all:
		case guessed == 0:
			print(fmt.Sprintf("%s has tried %d wrong passwords of %s at gateway1", guesser, guess(ctx, gateways[0].Addr("imaps")), account.Name))
			tick.Reset(askEvery) // what happens at one gateway is known at the others some milliseconds later
			guessed++
		case guessed == 1:
			print("gateway2 says: " + counted(ctx, operators[1]))
			guessed++
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// describeSharing says how each gateway counts together with others. all reports whether
// each counts together with all others.
func describeSharing(ctx context.Context, operators []*admin.Client) (text string, all bool) {
	var parts []string
	all = true
	for number, client := range operators {
		var state monitor.State
		err := client.GetJSON(ctx, monitor.Path, &state)
		if err != nil || state.Sharing == nil {
			parts, all = append(parts, gatewayName(number)+" does not answer"), false
			continue
		}
		mode := state.Sharing.Mode
		part := fmt.Sprintf("%s %s", gatewayName(number), mode)
		if mode == monitor.Shared {
			part += " with " + eventlog.Count(len(state.Sharing.Members)-1, "other")
		}
		if state.Sharing.Leader == gatewayName(number) {
			part += ", alerts people"
		}
		all = all && mode == monitor.Shared && len(state.Sharing.Members) == len(operators)
		parts = append(parts, part)
	}
	return strings.Join(parts, "; "), all
}

// guess tries the guesses at an IMAPS listener, and returns how many were denied.
func guess(ctx context.Context, addr string) (denied int) {
	from := guesser
	if runtime.GOOS != "linux" { // where that address need not be this machine's
		from = netip.Addr{}
	}
	for _, secret := range guesses {
		if strings.HasPrefix(logInFrom(ctx, addr, from, traffic.Login{Account: account.Name, Secret: secret}), "a NO [AUTHENTICATIONFAILED]") {
			denied++
		}
	}
	return denied
}

// counted is what a gateway says about the attempts of guesser.
func counted(ctx context.Context, client *admin.Client) string {
	about := guesser.String()
	if runtime.GOOS != "linux" {
		about = "127.0.0.1"
	}
	var e explain.Explanation
	if err := client.GetJSON(ctx, explain.Path+"?"+url.Values{"about": {about}}.Encode(), &e); err != nil {
		return err.Error()
	}
	for _, f := range e.Facts {
		if strings.Contains(f.Text, "denials spent") {
			return f.Text
		}
	}
	return e.Summary
}
