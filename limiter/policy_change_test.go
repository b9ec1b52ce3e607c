package limiter

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Policies change at random while attempts are under way, in parallel; at the end nothing is held and nothing is
// counted.
func TestPolicyChangesUnderWay(t *testing.T) {
	for seed := range uint64(12) {
		base := roomyPolicy()
		base.TableMax = []int{1, 40, 400, 20000}[seed%4]
		base.Global = Rate{5, time.Second}
		l := newLimiter(t, base)
		var clock sync.Mutex
		now := start
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				rnd := rand.New(rand.NewPCG(seed, uint64(w)))
				tick := func() time.Time {
					clock.Lock()
					defer clock.Unlock()
					now = now.Add(time.Duration(rnd.IntN(2000)) * time.Millisecond)
					return now.Add(-time.Duration(rnd.IntN(300)) * time.Millisecond)
				}
				var open []*Ticket
				var conns []*Connection
				for range 3000 {
					switch rnd.IntN(12) {
					case 0:
						p := base
						for _, r := range []*Rate{&p.Source, &p.Network, &p.Pair, &p.Account, &p.Global, &p.Connect} {
							switch rnd.IntN(4) {
							case 0:
								*r = Rate{}
							case 1:
								r.Tokens = 1 + rnd.IntN(20)
							}
						}
						p.Attack = rnd.IntN(2) == 0
						p.TableMax = max(1, p.TableMax/(1+rnd.IntN(2)))
						p.WaitMax = time.Duration(rnd.IntN(15)) * time.Second
						if rnd.IntN(3) == 0 {
							p.Exempt = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
						}
						if rnd.IntN(3) == 0 {
							p.RepeatTTL = 0
						}
						if err := l.SetPolicy(tick(), p); err != nil {
							panic(err)
						}
					case 1, 2, 3, 4, 5:
						addr := host(rnd.IntN(400))
						if rnd.IntN(4) == 0 {
							addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(rnd.IntN(4)), byte(rnd.IntN(4)), byte(rnd.IntN(9)), 15: 1})
						}
						a := Attempt{Addr: addr, Account: fmt.Sprint("u", rnd.IntN(30)), Token: rnd.IntN(5) == 0, Device: Device(rnd.IntN(4)), Resumed: rnd.IntN(2) == 0}
						if rnd.IntN(5) == 0 {
							a.Account = ""
						} else if rnd.IntN(4) > 0 {
							a.Credential = l.Credential(a.Account, []byte{byte(rnd.IntN(6))})
						}
						k := new(Ticket)
						*k = l.Ask(tick(), a)
						open = append(open, k)
					case 6:
						if len(open) > 0 {
							open[rnd.IntN(len(open))].Again(tick())
						}
					case 7:
						if len(open) > 0 {
							if k := open[rnd.IntN(len(open))]; k.waiter == nil && !k.settled {
								k.Enter(tick(), k)
							}
						}
						l.Dispatch(tick())
					case 8, 9:
						if len(open) > 0 {
							i := rnd.IntN(len(open))
							if rnd.IntN(4) == 0 {
								open[i].Abandon(tick(), time.Duration(rnd.IntN(20))*time.Second)
							} else {
								open[i].Settle(tick(), Outcome(rnd.IntN(3)))
							}
							open = append(open[:i], open[i+1:]...)
						}
					default:
						if c, _ := l.Connect(tick(), host(rnd.IntN(400))); c != nil {
							conns = append(conns, c)
						}
						if len(conns) > 5 {
							if rnd.IntN(2) == 0 {
								conns[0].LoggedIn(tick())
							}
							conns[0].Close(tick())
							conns = conns[1:]
						}
					}
				}
				for _, k := range open {
					k.Settle(tick(), Outcome(rnd.IntN(3)))
				}
				for _, c := range conns {
					c.Close(tick())
				}
			}()
		}
		wg.Wait()
		check := func(e *entry) {
			if e.holds != 0 || e.lookHolds != 0 || e.open != 0 || e.prelogin != 0 {
				t.Errorf("seed %d: %+v", seed, *e)
			}
		}
		for i := range l.table.shards {
			for j := range l.table.shards[i].entries {
				check(&l.table.shards[i].entries[j])
			}
		}
		for i := range l.table.shared {
			check(&l.table.shared[i].entry)
		}
		if n := l.globalQueue.queue.Len(); n != 0 || len(l.globalQueue.deadlines) != 0 {
			t.Errorf("seed %d: %d tickets in the queue", seed, n)
		}
		for f, a := range l.known.sources.entries {
			if a.accounts > 1000 {
				t.Errorf("seed %d: source %x has %d accounts", seed, f, a.accounts)
			}
		}
	}
}
