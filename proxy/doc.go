// Package proxy leads one connection from the door to a backend, room by room.
//
// # The walk
//
// A Server accepts connections and starts a session for each. A room is a step of
// the walk and returns the next; walk.go goes from one to the other. A connection
// that ends does so in one of them:
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
//	dial              replay.go     the first backend that is up, has a login slot and greets: backends.go says
//	                                which, upstream.go connects, probe.go watches
//	PROXY header out  header.go     client address and TLS facts, in one write
//	replay            replay.go     package dialogue asks the backend
//	settle            login.go      the limiter is told, once for each attempt
//	relay             relay.go      octets both ways; nothing of the above is left but two connections, until
//	                                one side ends it or silence.go does
//	close             session.go    both ends are closed and the Record handed over; always reached
//
// There are two loops, both from what follows back to the dialogue: to hear again in
// TLS, and after a denial. A backend is never dialled before the limiter has said
// yes: its login slots are what the gate protects.
//
// # Who waits
//
// Wherever a session waits for its client it is parked: nobody waits in Read, its
// goroutine ends with its stack and its buffers, and package socket has another
// begin in the next room when something comes. So it is before a handshake, before
// each command, in the tarpit, and in each direction of a relay. Only within a
// handshake, a command or an exchange a goroutine waits, and for a backend.
//
// What an attempt waits for in the tarpit rings a bell, which ends the wait as a
// deadline would. The limiter decides whose turn it is, and one timer asks it; slots
// are given by whoever gives one back. Both take the known first, and of strangers a
// network at a time. Slots for a handshake are few and held for less than a
// millisecond: there the newest is next, and no network is counted.
//
// TLS that is silent for a second is put to sleep (doze.go): package dormant keeps
// two keys of it. So a silent session is two sockets and a struct.
//
// # Who owns what
//
// A session belongs to the goroutine that walks; parked, to nobody until it is
// woken. The relay has two directions, with a goroutine each while they have
// something to carry. A connection is parked in one call that says whether there is
// anything to wait for: a word that comes meanwhile either keeps the goroutine or
// begins the next, and none is lost.
//
// session.close closes the client's connection and upstream.leave the
// backend's, and nobody else closes either: whoever wants a session to end makes
// its deadlines pass, which wakes it. Nothing in a room logs or counts. An Attempt
// is told when it is settled and a Record when the connection has ended, and the
// logs and metrics are made of these; Stats reads the rest.
//
// # Deadlines
//
// Everything before login has one deadline, LOGIN_TIMEOUT from accept; the time
// in the tarpit is added to it. A handshake and a PROXY header have their own
// within that. A backend has dialTimeout, welcomeTimeout and replayTimeout, and
// a relay ends when both sides are silent for too long. Package socket has one
// timer for all of them.
package proxy
