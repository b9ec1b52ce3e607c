// Package proxy takes a mail client's connection from accept to close: it ends TLS,
// speaks the dialogue before login, asks the limiter, and only then dials a backend,
// replays the login and relays data.
//
// # The life of a connection
//
// A [Server] accepts connections and starts a session for each. A session runs from step
// to step (park.go has the loop); each step returns the next. A connection ends in one
// of them:
//
//	accept            server.go          from a listener; over the limit of connections, evict.go closes
//	                                     the one that has waited longest before login
//	PROXY header in   proxyheader.go     the client's address, from load balancers only
//	connect verdict   session.go         the limiter looks at the source alone; where that has too many connections
//	                                     before login, evict.go closes the oldest that has no attempt under way
//	TLS               tls.go             on implicit TLS listeners; few handshakes compute at once, others queue
//	dialogue          session.go         package dialogue reads commands until the client wants TLS, login or logout;
//	                                     webmail in ForwardedFrom may name its client (forward.go), to which the rules
//	                                     about connections then apply
//	verdict           attempt.go         the limiter is asked, once for each attempt
//	tarpit            attempt.go         the attempt waits, before its password is tried: as the verdict says, for
//	                                     the global bucket and for a login slot; tarpit.go bounds how many wait
//	dial              backend_login.go   a backend that is up and has a login slot (slots.go) is connected to
//	                                     (backends.go); probe.go finds out which are up
//	PROXY header out  proxyheader.go     client address and TLS facts, in one write
//	replay            backend_login.go   package dialogue sends the login to the backend
//	settle            attempt.go         the limiter gets the outcome, once for each attempt
//	relay             relay.go           data both ways, until one side closes or both are idle for too long
//	close             session.go         both connections are closed and the [Record] is handed over; always reached
//
// The steps are the same for IMAP, POP3 and ManageSieve; what differs is in package
// dialogue. Logins at other programs, such as a submission server, have no connection here:
// external.go asks the limiter about them and reports them like the attempts of sessions.
//
// There are two loops, both back to the dialogue: after STARTTLS and after a denial. A
// backend is never dialled before the limiter has said yes, for its login slots are what
// postern protects.
//
// # Waiting
//
// A session that waits for its client is parked: its goroutine ends, its buffers are
// given back, and package netpoll starts the next step when there is something to read
// or a deadline has passed. That is so before a handshake, before the first command, after
// a denial, in the tarpit, and in each direction of a relay. A goroutine waits only within
// a handshake, for a client that has sent a command and not logged in yet, and for a
// backend. So an idle session is two sockets, a struct and its TLS state.
//
// What an attempt waits for in the tarpit wakes its session by making the read deadline
// pass. The limiter decides whose token is next; login slots go to the next in the queue
// when one is given back. Both serve the known first, and strangers one network after
// the other.
//
// # Ownership
//
// A session belongs to the goroutine that runs it; while it is parked, to none. A relay
// has two directions, each run by one goroutine at a time. A connection is parked by one
// call that reports whether there is something to read already, so no data is missed.
//
// Only session.close closes the client's connection, and only backendConn.close the
// backend's. To end a session from outside, its deadlines are made to pass, which wakes
// it. [Server.CloseFrom] does so for a network that an operator has blocked (block.go). No
// step logs or counts: [Server.Settled] gets each [Attempt] and [Server.Done]
// each [Record], and logs and metrics are made from these. [Server.Stats] has the rest.
//
// # The end of a server
//
// An upgrade starts another process with the same listening sockets. [Server.StopAccepting]
// leaves them to it, and [Server.Shutdown] ends the sessions by a schedule (shutdown.go): for
// some time clients may still log in, and in the last part idle sessions are closed evenly
// (pace.go). Until then both processes count together: [Server.Counts] is what one has, and
// [Server.CountElsewhere] what the others have (counts.go).
//
// # Deadlines
//
// Everything before login has one deadline, Timeouts.Login from accept; time in the
// tarpit is added to it. A handshake and a PROXY header have their own within that. A
// backend has dialTimeout, greetingTimeout and replayTimeout.
package proxy
