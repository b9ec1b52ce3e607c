// Package proxy leads one connection from the door to a backend, room by room.
//
// # The walk
//
// A Server accepts connections and starts a session for each. session.walk is the
// walk; every room takes what the last one returned, and a connection that ends
// does so in one of them:
//
//	accept            server.go     from a listener to a connection; where there are too many, crowd.go has the
//	                                one make room that has waited longest before login
//	PROXY header in   arrive.go     to a connection with the client's true address
//	connect verdict   session.go    the limiter looks at the source alone
//	TLS               arrive.go     at implicit doors; handshake.go bounds how many compute at once and says
//	                                who is next, and newcomers who would wait for long are turned away;
//	                                inturn.go gives a slot back while the client thinks
//	dialogue          login.go      package dialogue hears what the client wants: TLS, login, leave
//	verdict           login.go      the limiter is asked, once for each attempt; anew in the replay, where only
//	                                that names the account
//	tarpit            stay.go       the attempt waits out its verdict, for its turn among all (turns.go) and
//	                                for a login slot (slots.go), before the password is tried; tarpit.go
//	                                bounds how many do
//	dial              backends.go   the first backend that is up, has a login slot and greets; upstream.go
//	                                connects, probe.go watches
//	PROXY header out  header.go     client address and TLS facts, in one write
//	replay            replay.go     package dialogue asks the backend
//	settle            login.go      the limiter is told, once for each attempt
//	relay             relay.go      octets both ways; nothing of the above is left but two connections, and
//	                                nobody waits for them: lot_linux.go wakes the relay, silence.go ends it
//	close             session.go    both ends are closed and the Record handed over; always reached
//
// There are two loops, both in session.login: hear again in TLS, and hear again
// after a denial. A backend is never dialled before the limiter has said yes:
// its login slots are what the gate protects.
//
// # Who waits
//
// A session that waits leaves its connection in the lot, as a relay does, and looks
// at it when something comes: so it sees its client leave. What it waits for rings
// a bell, which ends the wait. The limiter decides whose turn it is, and one timer
// asks it; slots are given by whoever gives one back. Both take the known first,
// and of strangers a network at a time. Slots for a handshake are few and held for
// less than a millisecond: there the newest is next, and no network is counted.
//
// # Who owns what
//
// Each session has one goroutine until it is logged in. What needs a deep stack on
// the way, a handshake or the reading of a login, is done apart, on a goroutine
// that ends with it. The relay then has one for each direction in which something
// moves. When nothing more is there to read, the goroutine leaves the connection
// in the server's lot and ends, with its stack and its buffer; the lot begins
// another when something comes. A direction belongs to whoever has set it moving:
// relay.go says how it is handed over without a word being lost. A connection that
// is no TCP connection cannot be left; there the goroutine waits in Read. That is
// the only difference.
//
// session.close closes the client's connection and upstream.leave the
// backend's, and nobody else closes either: whoever wants a session to end makes
// its deadlines pass, and wakes a relay to notice. Nothing in a room logs or
// counts. An Attempt is told when it is settled and a Record when the connection
// has ended, and the logs and metrics are made of these; Stats reads the rest.
//
// # Deadlines
//
// Everything before login has one deadline, LOGIN_TIMEOUT from accept; the time
// in the tarpit is added to it. A handshake and a PROXY header have their own
// within that. A backend has dialTimeout, welcomeTimeout and replayTimeout, and
// a relay ends when both sides are silent for too long: its connections have no
// deadlines then, and one timer looks after all of them.
package proxy
