package limiter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// A scriptRunner runs scripts: calls of a limiter, one in each row, and the results they must have.
//
//	12s  ask a 192.0.2.1      = wait 2s source    open attempt a; the wait may be up to a fifth longer
//	12s  ask b 192.0.2.1 u/x  = repeat 2s repeat  of account u with secret x; without a slash, no secret is shown
//	12s  ask b 192.0.2.1 u/x@d                    from device d; with the secret "token", it is one
//	12s  ask c 192.0.2.1      = again 250ms source  wait as long, then ask again
//	13s  again c
//	13s  enter a              = wait 1s global    ask for a global token
//	13s  dispatch             = a pass, b refuse  the decisions, sorted by name
//	13s  denied a                                 settle it; also accepted, void
//	13s  connect v 192.0.2.1  = pass none         open connection v
//	14s  login v                                  also close
//	15s  peek 192.0.2.1 u     = refuse pair       at USER of POP3
//	16s  lists 10.0.0.0/8,192.0.2.0/24 -          block networks, and allow those of another such list; here none
//	17s  release 192.0.2.1 u  = 1                 of an address, an account or both; - for none
//	18s  forget u             = true
type scriptRunner struct {
	*Limiter
	tickets     map[string]*Ticket
	connections map[string]*Connection
}

// runScript runs script with a new limiter for p, and returns the scriptRunner to run more with it.
func runScript(t testing.TB, p Policy, script string) scriptRunner {
	t.Helper()
	sr := scriptRunner{newLimiter(t, p), map[string]*Ticket{}, map[string]*Connection{}}
	sr.run(t, script)
	return sr
}

// run runs script and fails where a result differs.
func (sr scriptRunner) run(t testing.TB, script string) {
	t.Helper()
	for row := range strings.Lines(script) {
		row, _, _ = strings.Cut(row, "#")
		call, want, hasWant := strings.Cut(strings.TrimSpace(row), "=")
		fields := append(strings.Fields(call), "", "", "") // most verbs have fewer arguments
		if fields[0] == "" {
			continue
		}
		got := sr.do(at(fields[0]), fields[1], fields[2], fields[3], fields[4])
		if hasWant && !matches(got, strings.TrimSpace(want), sr.rules.Load().WaitMax) {
			t.Errorf("%s\n\tgot %v", strings.TrimSpace(row), got)
		}
	}
}

// do makes one call and returns its result, or nil.
func (sr scriptRunner) do(t time.Time, verb, name, addr, user string) any {
	switch verb {
	case "ask":
		sr.tickets[name] = new(Ticket)
		*sr.tickets[name] = sr.Ask(t, sr.attempt(addr, user))
		return sr.tickets[name].Verdict()
	case "again":
		return sr.tickets[name].Again(t)
	case "enter":
		return sr.tickets[name].Enter(t, name)
	case "dispatch":
		return sr.dispatch(t)
	case "denied", "accepted", "void":
		sr.tickets[name].Settle(t, map[string]Outcome{"denied": Denied, "accepted": Accepted, "void": Void}[verb])
	case "peek":
		return sr.Peek(t, sr.attempt(name, addr))
	case "connect":
		c, verdict := sr.Connect(t, netip.MustParseAddr(addr))
		if (c == nil) != (verdict.Action == Refuse) {
			return fmt.Sprint("connection ", c, " with ", verdict)
		}
		sr.connections[name] = c
		return verdict
	case "login":
		sr.connections[name].LoggedIn(t)
	case "close":
		sr.connections[name].Close(t)
	case "lists":
		sr.SetLists(Lists{Blocked: networks(name), Allowed: networks(addr)})
	case "release":
		return sr.Release(t, sr.attempt(name, addr))
	case "forget":
		return sr.ForgetAccount(t, name)
	default:
		panic("unknown verb: " + verb)
	}
	return nil
}

// networks returns the networks of a list, or none for -.
func networks(list string) (all []netip.Prefix) {
	for p := range strings.SplitSeq(list, ",") {
		if p != "-" {
			all = append(all, netip.MustParsePrefix(p))
		}
	}
	return all
}

// attempt returns an attempt from addr by user, in the form account or account/secret. Each is - for none.
func (sr scriptRunner) attempt(addr, user string) Attempt {
	user, device, resumed := strings.Cut(user, "@")
	account, secret, shown := strings.Cut(user, "/")
	a := Attempt{Account: strings.TrimPrefix(account, "-"), Resumed: resumed}
	if addr != "-" {
		a.Addr = netip.MustParseAddr(addr)
	}
	for _, c := range device {
		a.Device = a.Device<<8 | Device(c)
	}
	switch {
	case secret == "token":
		a.Token = true
	case shown:
		a.Credential = sr.Credential(account, []byte(secret))
	}
	return a
}

func (sr scriptRunner) dispatch(t time.Time) string {
	decided, _ := sr.Dispatch(t)
	var results []string
	for _, d := range decided {
		results = append(results, fmt.Sprint(d.Waiter, " ", d.Verdict.Action))
	}
	slices.Sort(results)
	return strings.Join(results, ", ")
}

// matches reports whether got is the result that a row wants, up to jitter.
func matches(got any, want string, longest time.Duration) bool {
	v, ok := got.(Verdict)
	if !ok || v.Wait == 0 {
		return fmt.Sprint(got) == want || ok && v.Action.String()+" "+string(v.Rule) == want
	}
	action, fields := v.Action.String(), strings.Fields(want)
	if v.Again {
		action = "again"
	}
	if len(fields) != 3 || fields[0] != action || fields[2] != string(v.Rule) {
		return false
	}
	d, err := time.ParseDuration(fields[1])
	return err == nil && v.Wait >= d && v.Wait <= min(d+d/5, longest)
}
