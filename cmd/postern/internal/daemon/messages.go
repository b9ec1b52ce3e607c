package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"postern/cmd/postern/internal/handover"
	"postern/cmd/postern/internal/monitor"
	"postern/proxy"
)

// The messages between two generations. An upgrade is this dialogue, between the generation that accepts connections (main)
// and the next:
//
//	next  hello
//	main  resources  what the next needs to make its parts: keys, lock and sockets
//	next  prepared   settings, certificates and backends are read
//	main  limiter, incidents, decisions, recent, sharing, formers
//	next  serving    it accepts connections
//	main  committed  the service manager knows the next as the main process
//
// Instead of its next message, the next generation may send failed. Afterwards main is a former generation, and the next is
// main. Both send events and counts; a former generation also sends observations. Main sends end, close, and, after a crash
// of the process that was main, rejoin.
const (
	msgHello handover.Kind = iota + 1
	msgResources
	msgPrepared
	msgLimiter   // an export of the limiter
	msgIncidents // an export of the incidents and the detector
	msgDecisions // an export of the decisions of operators
	msgRecent    // an export of what happened to clients lately
	msgSharing   // what is needed to go on sharing with other gateways; empty without an engine
	msgFormers
	msgServing
	msgCommitted
	msgFailed

	msgEvents       // of the limiter
	msgObservations // for the detector
	msgCounts
	msgEnd
	msgRejoin
	msgClose
)

// messageNames are for errors.
var messageNames = map[handover.Kind]string{
	msgHello: "hello", msgResources: "resources", msgPrepared: "prepared", msgLimiter: "limiter", msgIncidents: "incidents",
	msgDecisions: "decisions", msgRecent: "recent", msgSharing: "sharing",
	msgFormers: "formers", msgServing: "serving", msgCommitted: "committed", msgFailed: "failed",
	msgEvents: "events", msgObservations: "observations", msgCounts: "counts", msgEnd: "end", msgRejoin: "rejoin", msgClose: "close",
}

// handoverProtocol is the version of the messages. Both sides must have the same.
const handoverProtocol = 3

// A helloMessage identifies the next generation.
type helloMessage struct {
	Protocol int
	Version  string
	PID      int
}

// A resourcesMessage has what the next generation needs to make its parts. Its files are the lock of the state directory, if
// there is one, and the sockets.
type resourcesMessage struct {
	Number     int // of the next generation
	Former     monitor.Generation
	StateDir   string
	InstallKey []byte
	TicketKeys []byte   // in the format of TLS_TICKET_KEYS; nil if these are in a file, or there is no TLS
	Locked     bool     // the first file is the lock
	Sockets    []string // the names of the other files
}

// A formersMessage lists the former generations, and has what main itself has open. Its files are the links to them.
type formersMessage struct {
	Counts  proxy.Counts // of main
	Formers []formerState
	Saved   savedFiles // the files with the known users
	// Firewall is the export of the list for firewalls. Older versions do not send it.
	Firewall json.RawMessage `json:",omitempty"`
}

// A formerState is what main knows of a former generation.
type formerState struct {
	monitor.Generation
	Counts proxy.Counts
	Ending bool // it was asked to end
}

// A servingMessage says how long the sessions of the generation that hands over may go on.
type servingMessage struct{ Drain time.Duration }

// A countsMessage is what a generation has open. One that accepts connections sends only Counts.
type countsMessage struct {
	proxy.Counts
	Generation monitor.Generation
	LoginsOver bool // no client is before login, and none will be
}

// An endMessage asks a former generation to end.
type endMessage struct{ Within time.Duration }

// A closeMessage asks a former generation to close the connections from networks that operators have blocked, except those
// from networks that are allowed.
type closeMessage struct {
	Networks []netip.Prefix
	Except   []netip.Prefix
}

// send sends a message with the content v, in JSON.
func send(l *handover.Link, kind handover.Kind, v any, files ...*os.File) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.Send(kind, data, files...)
}

// expect receives a message of this kind, and reads its content into v unless that is nil.
func expect(l *handover.Link, kind handover.Kind, v any) (handover.Message, error) {
	m, err := l.Receive()
	switch {
	case err != nil:
		return m, err
	case m.Kind == msgFailed:
		return m, fmt.Errorf("the new process: %s", m.Payload)
	case m.Kind != kind:
		return m, fmt.Errorf("got the message %q, want %q", messageNames[m.Kind], messageNames[kind])
	case v == nil:
		return m, nil
	}
	if err := json.Unmarshal(m.Payload, v); err != nil {
		return m, fmt.Errorf("read the message %q: %w", messageNames[kind], err)
	}
	return m, nil
}

// isEnd reports whether err means that the process at the other end of a link has ended.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
