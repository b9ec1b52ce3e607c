package limiter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// A teller plays statements: what a limiter is told and asked, line by line, and what it must answer.
//
//	12s  ask a 192.0.2.1      = wait 2s source    open attempt a; a wait may be up to a fifth longer
//	12s  ask b 192.0.2.1 u/x  = repeat 2s repeat  of account u with secret x; without a slash, none is shown
//	13s  enter a              = wait 1s global    ask for its turn
//	13s  turn                 = a pass, b refuse  who is told what, in alphabetical order
//	13s  denied a                                 settle it; also accepted, void
//	13s  connect v 192.0.2.1  = pass none         open visit v
//	14s  login v                                  also leave
//	15s  peek 192.0.2.1 u     = refuse pair       what POP3 is told at USER
type teller struct {
	*Limiter
	tickets map[string]*Ticket
	visits  map[string]*Connection
}

// statement plays script to a new limiter for p, and returns the teller for more of it.
func statement(t *testing.T, p Policy, script string) teller {
	t.Helper()
	tl := teller{newLimiter(t, p), map[string]*Ticket{}, map[string]*Connection{}}
	tl.play(t, script)
	return tl
}

// play plays script and fails where an answer is not the one it says.
func (tl teller) play(t *testing.T, script string) {
	t.Helper()
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(line, "#")
		entry, want, asked := strings.Cut(strings.TrimSpace(line), "=")
		words := append(strings.Fields(entry), "", "", "") // not every verb takes all
		if words[0] == "" {
			continue
		}
		got := tl.do(at(words[0]), words[1], words[2], words[3], words[4])
		if asked && !agrees(got, strings.TrimSpace(want), tl.rules.Load().WaitMax) {
			t.Errorf("%s\n\tgot %v", strings.TrimSpace(line), got)
		}
	}
}

// do plays one line and returns the answer, if it has one.
func (tl teller) do(t time.Time, verb, name, addr, who string) any {
	switch verb {
	case "ask":
		tl.tickets[name] = new(Ticket)
		*tl.tickets[name] = tl.Ask(t, tl.attempt(addr, who))
		return tl.tickets[name].Verdict()
	case "enter":
		return tl.tickets[name].Enter(t, name)
	case "turn":
		return tl.turn(t)
	case "denied", "accepted", "void":
		tl.tickets[name].Settle(t, map[string]Outcome{"denied": Denied, "accepted": Accepted, "void": Void}[verb])
	case "peek":
		return tl.Peek(t, netip.MustParseAddr(name), addr)
	case "connect":
		visit, verdict := tl.Connect(t, netip.MustParseAddr(addr))
		if (visit == nil) != (verdict.Action == Refuse) {
			return fmt.Sprint("visit ", visit, " beside ", verdict)
		}
		tl.visits[name] = visit
		return verdict
	case "login":
		tl.visits[name].LoggedIn(t)
	case "leave":
		tl.visits[name].Close(t)
	default:
		panic("no such verb: " + verb)
	}
	return nil
}

// attempt returns an attempt from addr by who, in the form account/secret.
func (tl teller) attempt(addr, who string) Attempt {
	account, secret, shown := strings.Cut(who, "/")
	a := Attempt{Addr: netip.MustParseAddr(addr), Account: account}
	if shown {
		a.Credential = tl.Credential(account, []byte(secret))
	}
	return a
}

func (tl teller) turn(t time.Time) string {
	decided, _ := tl.Dispatch(t)
	var told []string
	for _, d := range decided {
		told = append(told, fmt.Sprint(d.Waiter, " ", d.Verdict.Action))
	}
	slices.Sort(told)
	return strings.Join(told, ", ")
}

// agrees reports whether got is what a line wants, give or take jitter.
func agrees(got any, want string, longest time.Duration) bool {
	v, ok := got.(Verdict)
	if !ok || v.Wait == 0 {
		return fmt.Sprint(got) == want || ok && v.Action.String()+" "+string(v.Rule) == want
	}
	words := strings.Fields(want)
	if len(words) != 3 || words[0] != v.Action.String() || words[2] != string(v.Rule) {
		return false
	}
	d, err := time.ParseDuration(words[1])
	return err == nil && v.Wait >= d && v.Wait <= min(d+d/5, longest)
}
