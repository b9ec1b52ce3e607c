// Package bench measures mail proxies under load, side by side: postern, its
// peers, or a server that runs already. Command postern-bench is its command
// line.
//
// # A run
//
// [Run] opens the testbed: a folder, a certificate, and the mail server behind
// all targets, in a process of its own. For every [Work] the runner starts each
// target with a configuration for the same work and measures the targets in
// rounds, each round in another order, so that a machine that becomes slower
// during the run is slower for all. A round produces a sample. The samples of
// all rounds become medians with their spread in a [Report], which is written as
// a table, JSON, HTML or Markdown.
//
//   - scenario.go defines scenarios and works. login.go, idle.go, relay.go,
//     attack.go, informed.go, guess.go, tarpit.go, overload.go, capacity.go and
//     viewers.go contain them.
//   - target.go is a target as a scenario sees it. local.go and testbed.go start
//     targets, remote.go connects to one that runs already.
//   - gateway.go has the users and attackers of a gateway that runs already,
//     gatewayattack.go and gatewaytarpit.go the scenarios there. explain.go says
//     what its refusals mean, conclusion.go whether it held.
//   - load.go contains the loops that generate load, results.go counts outcomes
//     and latency. trafficrun.go sends the traffic of a site, flood.go runs many
//     clients, wakeups.go measures notifications, memoryprobe.go reads memory.
//   - run.go does the rounds. sample.go, collect.go and report.go hold figures;
//     table.go, page.go, canvas.go and readme.go write them; goals.go compares
//     postern with its goals.
//
// # Validity
//
// The CPU time of a target is that of its process tree only: clients are in this
// process, the mail server is in another, and the clients of a flood are in a
// third, where they cannot delay the measurement. In an open loop, latency counts
// from when a client was due. An attempt without an answer counts with its
// timeout. Logins that the mail server does not know are reported. Every round
// measures which part of the machine other programs used, and a disturbed row is
// marked.
//
// # A new scenario
//
// Write a [Scenario] in a file of its own and add it to [Scenarios]. Its works
// function returns what is measured, each with a function for one round at one
// target:
//
//	var noopScenario = Scenario{Name: "noop", About: "...", works: func(o *Options) ([]Work, error) {
//		return []Work{{
//			Name: "noop, TLS", about: "...", rounds: o.Rounds,
//			measure: func(ctx context.Context, t *target, s *sample) error {
//				dialer, err := t.dialer(client.IMAP, client.TLS) // or errNotOffered
//				if err != nil {
//					return err
//				}
//				meter, err := t.meter(ctx)
//				if err != nil {
//					return err
//				}
//				res := newResults(time.Now())
//				openLoop(ctx, o.Rate, o.Duration, func(i int, due time.Time) {
//					session, err := dialer.Dial(ctx, t.source(i))
//					...
//					res.add(due, time.Since(due), answer, err)
//				})
//				if cpu, known := meter.cpu(); known {
//					s.figure("CPU per NOOP", "µs", lower, ...)
//				}
//				s.latency("NOOP", res)
//				return ctx.Err()
//			},
//		}}, nil
//	}}
//
// A work that attacks has settings with the limits that apply, and proxyHeader
// so that clients may have any address. It limits the password checks of the mail
// server by t.backend.Limit until the end of the round. A figure whose name has a
// goal in goals.go is compared with it.
package bench
