// Package bench puts mail gateways under load and says what they cost, side by
// side: postern, its peers, or a server that runs already. Command
// postern-bench is its command line.
//
// # How a run goes
//
// [Run] opens the house: a folder, a certificate, and the mail server behind
// all targets, in a process of its own. For every [Work] the [Runner] starts
// each target with a configuration for the same work and visits them in
// rounds, each round in another order, so that a machine that grows slower in
// the course of a run is slower for all. What a round finds is a [Sample]; the
// samples of all rounds become medians with their spread in a [Report], and
// that becomes a table, JSON or a page.
//
//   - scenario.go says what scenarios and works are; login.go, idle.go, relay.go
//     and others are one each, in words a reader can check.
//   - target.go is what a scenario sees of a target; house.go starts targets,
//     elsewhere.go takes one that runs already.
//   - load.go has the two loops, tally.go counts what became of attempts.
//   - flood.go is many clients in a process of their own, wakeups.go listens on
//     silent sessions meanwhile, strain.go looks at memory.
//   - run.go goes the rounds; sample.go, collect.go and report.go hold figures;
//     table.go, page.go and readme.go show them; goals.go judges postern.
//
// # What makes it honest
//
// The CPU time of a target is that of its whole tree of processes, and nobody
// else's: clients are in this process, the mail server in another, and a flood of
// clients in a third where their crowd would delay the measurement. Latency in
// an open loop counts from the moment a client was due. An attempt without an
// answer counts as slow as it was given time to be. Logins that the mail server
// knows nothing of are reported. Every round measures how much of the machine
// others used, and a row that was disturbed says so.
//
// # How a scenario is added
//
// Write a [Scenario] in a file of its own and put it into [Scenarios]. Its
// Works returns what is measured, each with a function that does one round at
// one target:
//
//	var knock = Scenario{Name: "knock", About: "...", Works: func(o *Options) ([]Work, error) {
//		return []Work{{
//			Name: "knock, TLS", About: "...", Rounds: o.Rounds,
//			Measure: func(ctx context.Context, t *Target, s *Sample) error {
//				caller, err := t.Caller(client.IMAP, client.TLS) // or ErrNotOffered
//				if err != nil {
//					return err
//				}
//				meter, err := t.Meter(ctx)
//				if err != nil {
//					return err
//				}
//				tally := NewTally(time.Now())
//				openLoop(ctx, o.Rate, o.Duration, func(i int, due time.Time) {
//					session, err := caller.Call(ctx, t.Source(i))
//					...
//					tally.Add(due, time.Since(due), answer, err)
//				})
//				if cpu, known := meter.CPU(); known {
//					s.Figure("CPU per knock", "µs", Lower, ...)
//				}
//				s.Latency("knock", tally)
//				return ctx.Err()
//			},
//		}}, nil
//	}}
//
// A work that attacks sets Settings to the limits that shall hold and Announce
// to come from any address, and tells the mail server by t.Backend.Limit how
// many passwords it can check a second, until the end of the round.
// Whatever it names by [Sample.Figure] is a row of the table; a name with a
// goal in goals.go is judged. [Sample.Timeline] gives the page a chart over time.
package bench
