package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/bench/client"
)

// Flood is many clients in TLS: logins and, if it is to be, handshakes that are
// begun and never finished. Its callers are a process of their own, so that
// those who watch the target meanwhile do not wait behind them for their turn.
type Flood struct {
	Addr        string // IMAP inside TLS
	Certificate string // PEM, of the target

	Workers    int     // so many in a closed loop; 0: open loops at the rates
	Rate       float64 // logins a second
	Unfinished float64 // handshakes a second that are not finished

	Onset    time.Duration // at the beginning, which fills lines and is no measure of what lasts
	Duration time.Duration // of all
	Patience time.Duration
	// From is the first of the accounts and addresses; Of says how many there are,
	// in turn, 0 for another with every login. Unfinished handshakes come from
	// addresses that follow Strangers.
	From, Of, Strangers int
}

// Flooded is what became of a flood.
type Flooded struct {
	Took             time.Duration
	Logins           *Tally
	InTime           int    // logins that were accepted after the onset and before the flood was over
	Late             *Tally // of the callers, who should begin what is due
	Begun, Responded int    // unfinished handshakes, and those of them to which the target responded with its own part
}

// run floods t from this process.
func (f Flood) run(ctx context.Context, t *Target) (*Flooded, error) {
	caller, err := t.Caller(client.IMAP, client.TLS)
	if err != nil {
		return nil, err
	}
	caller.Patience = f.Patience
	begun := time.Now()
	from, over := begun.Add(f.Onset), begun.Add(f.Duration)
	r := &Flooded{Logins: NewTally(begun), Late: NewTally(begun)}
	var inTime, started, responded atomic.Int64
	login := func(i int, due time.Time) {
		r.Late.Add(due, time.Since(due), client.Accepted, nil)
		e := loginOnce(ctx, t, caller, f.number(i), client.Login)
		r.Logins.Add(due, e.answered.Sub(due), e.answer, e.err)
		if e.err == nil && e.answer == client.Accepted && e.answered.After(from) && e.answered.Before(over) {
			inTime.Add(1)
		}
	}
	var wg sync.WaitGroup
	if f.Unfinished > 0 {
		u := &client.Unfinished{Caller: client.Caller{Addr: caller.Addr, TLS: caller.TLS, Announce: caller.Announce, Patience: f.Patience, Dial: caller.Dial}}
		wg.Go(func() {
			openLoop(ctx, f.Unfinished, f.Duration, func(i int, _ time.Time) {
				started.Add(1)
				if u.Call(ctx, t.Source(f.Strangers+i)) == nil {
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
	r.InTime, r.Begun, r.Responded = int(inTime.Load()), int(started.Load()), int(responded.Load())
	return r, ctx.Err()
}

// number returns which account and address the i-th login is of.
func (f Flood) number(i int) int {
	if f.Of > 0 {
		i %= f.Of
	}
	return f.From + i
}

// flood lets a process of its own be the callers.
func (h *house) flood(ctx context.Context, f Flood) (*Flooded, error) {
	order, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, h.program, "flood", string(order))
	cmd.Env = append(os.Environ(), insideHouse+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to hear
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	in, err := cmd.StdinPipe() // which ends with this process
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("callers: %w\n%s", err, errs.Bytes())
	}
	var r Flooded
	return &r, json.Unmarshal(out.Bytes(), &r)
}

// RunFlood is the process that callers are: it does what a [Flood] in JSON says,
// writes a [Flooded], and ends early when in ends.
func RunFlood(order string, in io.Reader, out io.Writer) error {
	var f Flood
	if err := json.Unmarshal([]byte(order), &f); err != nil {
		return err
	}
	t := &Target{doors: map[door]string{{client.IMAP, client.TLS}: f.Addr}, loopback: true}
	var err error
	if t.tls, err = expect([]byte(f.Certificate)); err != nil {
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
