//go:build !race

package watch

import (
	"time"
)

// A population replaces the known users of a simulation, who are reported in bulk, by users with accounts, credentials and
// mail programs of their own.
type population struct {
	*simulation
	accounts []account
	programs []program
	due      map[time.Time][]int // programs that retry at a tick
	refuses  func(account int) bool
	retries  float64       // share of the denied attempts that are retried
	retry    time.Duration // after so long at least, and three times as long at most
}

// An account has a password, of which there are versions.
type account struct {
	version uint32 // that the password database accepts
	worked  uint32 // that was accepted last
	changes time.Time
}

// A program of an account logs in some times an hour.
type program struct {
	account int
	network uint32
	mobile  bool   // changes networks all the time
	version uint32 // of the password, as stored
	learns  time.Duration
}

// newPopulation returns a population for w, of which a share changes networks.
func newPopulation(w *simulation, mobile float64) *population {
	p := &population{simulation: w, due: map[time.Time][]int{}, refuses: func(int) bool { return false }}
	p.accounts = make([]account, max(20, int(w.rate*450)))
	for i := range 2 * len(p.accounts) {
		p.programs = append(p.programs, program{
			account: i / 2, network: uint32(i/2) + 1<<23, mobile: w.rand.Float64() < mobile,
		})
	}
	return p
}

// tick simulates 10 s.
func (p *population) tick() Reading {
	l := p.nextLoad()
	users := p.poisson(l.known)
	l.known = 0
	p.generate(l)
	for range users {
		p.attempt(p.rand.IntN(len(p.programs)))
	}
	for _, i := range p.due[p.now] {
		p.attempt(i)
	}
	delete(p.due, p.now)
	p.now = p.now.Add(tick)
	return p.Tick(p.now)
}

// attempt makes a program try to log in.
func (p *population) attempt(i int) {
	program := &p.programs[i]
	user := &p.accounts[program.account]
	if !user.changes.IsZero() && !p.now.Before(user.changes) {
		user.version = 1
		if !p.now.Before(user.changes.Add(program.learns)) {
			program.version = 1
		}
	}
	a := Attempt{
		Account: string(rune(program.account)), Credential: uint64(program.account)<<8 + uint64(program.version) + 1,
		Worked: program.version == user.worked, Former: program.version < user.worked, Known: true, Outcome: Accepted,
	}
	network := program.network
	if program.mobile {
		network = p.rand.Uint32N(1 << 24)
	}
	a.Source, a.Network = blocks(network, byte(i))
	if program.version != user.version || p.refuses(program.account) {
		a.Outcome, a.Known = Denied, !program.mobile
		if p.rand.Float64() < p.retries {
			after := p.retry + time.Duration(p.rand.Float64()*2*float64(p.retry))
			at := p.now.Add(max(tick, after.Truncate(tick)))
			p.due[at] = append(p.due[at], i)
		}
	} else {
		user.worked = program.version
	}
	p.countAttempt(a)
}

// perUser refuses a share of the users, always the same ones.
func perUser(share float64) func(int) bool {
	return func(account int) bool { return float64(account*7919%10007) < share*10007 }
}

// changing makes each user change the password at some time in ten hours from now on. One program of theirs has the new
// one within some minutes, the others after some hours. Those that do not retry all day.
func (p *population) changing() {
	for i := range p.accounts {
		p.accounts[i].changes = p.now.Add(time.Duration(p.rand.Float64() * float64(10*time.Hour)))
		p.programs[2*i].learns = time.Duration(p.rand.ExpFloat64() * float64(15*time.Minute))
		p.programs[2*i+1].learns = time.Duration(p.rand.ExpFloat64() * float64(5*time.Hour))
	}
	p.retries, p.retry = 0.9, 4*time.Minute
}
