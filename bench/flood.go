package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"postern/bench/client"
)

// floodConfig describes many clients of one TLS listener: logins and, beside
// them, TLS handshakes that are never finished. They run in a process of their
// own ([RunFlood]), so that their queues do not delay the measurements of the
// bench.
type floodConfig struct {
	Addr        string // IMAP with implicit TLS
	Certificate string // of the target, PEM

	Workers    int     // concurrent clients in a closed loop; 0: open loops at the rates below
	Rate       float64 // logins a second
	Unfinished float64 // unfinished handshakes a second

	Onset    time.Duration // beginning of Duration, which fills queues and is not measured
	Duration time.Duration
	Timeout  time.Duration // of one client

	FirstAccount  int // number of the first account and its address
	Accounts      int // number of accounts, used in rotation; 0: a new one for every login
	FirstStranger int // number of the first address of an unfinished handshake
}

// floodResult is what a flood has found.
type floodResult struct {
	Took      time.Duration
	Logins    *results
	InTime    int      // logins accepted after Onset and before the end of Duration
	Late      *results // how late clients started, compared with when they were due
	Started   int      // unfinished handshakes
	Responded int      // those of Started in which the target sent its part
}

// run runs the flood in this process.
func (f floodConfig) run(ctx context.Context, t *target) (*floodResult, error) {
	dialer, err := t.dialer(client.IMAP, client.TLS)
	if err != nil {
		return nil, err
	}
	dialer.Timeout = f.Timeout
	start := time.Now()
	from, end := start.Add(f.Onset), start.Add(f.Duration)
	r := &floodResult{Logins: newResults(start), Late: newResults(start)}
	var inTime, started, responded atomic.Int64
	login := func(i int, due time.Time) {
		r.Late.add(due, time.Since(due), client.Accepted, nil)
		l := loginOnce(ctx, t, dialer, f.account(i), client.Login)
		r.Logins.add(due, l.answered.Sub(due), l.answer, l.err)
		if l.err == nil && l.answer == client.Accepted && l.answered.After(from) && l.answered.Before(end) {
			inTime.Add(1)
		}
	}
	var wg sync.WaitGroup
	if f.Unfinished > 0 {
		u := client.UnfinishedHandshake{Addr: dialer.Addr, TLS: dialer.TLS, ProxyHeader: dialer.ProxyHeader, Timeout: f.Timeout, Connect: dialer.Connect}
		wg.Go(func() {
			openLoop(ctx, f.Unfinished, f.Duration, func(i int, _ time.Time) {
				started.Add(1)
				if u.Start(ctx, t.source(f.FirstStranger+i)) == nil {
					responded.Add(1)
				}
			})
		})
	}
	r.Took = f.Duration
	if f.Workers > 0 {
		r.Took = closedLoop(ctx, f.Workers, f.Duration, func(i int) { login(i, time.Now()) })
	} else {
		openLoop(ctx, f.Rate, f.Duration, login)
	}
	wg.Wait()
	r.InTime, r.Started, r.Responded = int(inTime.Load()), int(started.Load()), int(responded.Load())
	return r, ctx.Err()
}

// account returns the number of the account and address of the i-th login.
func (f floodConfig) account(i int) int {
	if f.Accounts > 0 {
		i %= f.Accounts
	}
	return f.FirstAccount + i
}
