//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"postern/cmd/postern/internal/handover"
)

// handoverFault in the environment of a new generation makes it relay the messages between
// itself and the process that hands over, and do something at one of them. Its value is
// that of fault.String.
const handoverFault = "HANDOVER_FAULT"

// fault is what happens at one message of a hand-over.
type fault struct {
	sender string // main, the process that hands over, or next
	n      int    // the n-th message of that
	action string
	main   int // process ID
}

// The actions of a fault.
const (
	killMain = "kill main" // after it has sent the message, or before it receives it
	killNext = "kill next" // likewise
	hang     = "hang"      // neither this message nor a later one is passed on
	alter    = "alter"     // the message is passed on as one of another version
)

// handoverMessages are the messages of a hand-over, in order and with their kinds (daemon/messages.go).
var handoverMessages = []struct {
	sender, name string
	kind         int
}{
	{"next", "hello", 1}, {"main", "resources", 2}, {"next", "prepared", 3}, {"main", "limiter", 4}, {"main", "incidents", 5}, {"main", "decisions", 6},
	{"main", "recent", 7}, {"main", "sharing", 8}, {"main", "formers", 9}, {"next", "serving", 10}, {"main", "committed", 11},
}

// String returns f as parseFault takes it.
func (f fault) String() string { return fmt.Sprintf("%s:%d:%s:%d", f.sender, f.n, f.action, f.main) }

// parseFault is the reverse of String.
func parseFault(text string) (f fault, err error) {
	parts := strings.Split(text, ":")
	if len(parts) != 4 {
		return f, fmt.Errorf("%s: got %q", handoverFault, text)
	}
	f.sender, f.action = parts[0], parts[2]
	if f.n, err = strconv.Atoi(parts[1]); err == nil {
		f.main, err = strconv.Atoi(parts[3])
	}
	return f, err
}

// script is a new program that is this one with the fault.
func (f fault) script() string {
	return fmt.Sprintf("export %s='%s'\nexec -a \"$0\" \"$REAL\" \"$@\"", handoverFault, f)
}

// relayHandover puts a relay with the fault of the environment between this process and
// the one that hands over, if there is a fault.
func relayHandover() error {
	text := os.Getenv(handoverFault)
	if text == "" {
		return nil
	}
	f, err := parseFault(text)
	if err != nil {
		return err
	}
	main, _, err := handover.FromEnviron(os.Environ())
	if err != nil || main == nil {
		return err
	}
	next, theirs, err := handover.Pair()
	if err != nil {
		return err
	}
	fd, err := syscall.Dup(int(theirs.Fd()))
	theirs.Close()
	if err != nil {
		return err
	}
	syscall.CloseOnExec(fd)
	os.Unsetenv(handoverFault) // the generation after this one has none
	os.Setenv("HANDOVER_FD", strconv.Itoa(fd))
	go f.relay("main", main, next)
	go f.relay("next", next, main)
	return nil
}

// relay passes on what the sender says, until either end closes or the fault happens.
func (f fault) relay(sender string, from, to *handover.Link) {
	defer to.Close()
	for n := 1; ; n++ {
		m, err := from.Receive()
		if err != nil {
			return
		}
		if sender == f.sender && n == f.n {
			fmt.Fprintf(os.Stderr, "fault=%q kind=%d\n", f, m.Kind)
			f.happen(&m)
		}
		err = to.Send(m.Kind, m.Payload, m.Files...)
		for _, file := range m.Files {
			file.Close()
		}
		if err != nil {
			return
		}
	}
}

// happen does what f says at the message m. It does not return if that is not to be
// passed on.
func (f fault) happen(m *handover.Message) {
	switch f.action {
	case killMain:
		_ = syscall.Kill(f.main, syscall.SIGKILL)
	case killNext:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case hang:
		select {}
	case alter:
		if number := []byte(`"Protocol":`); bytes.Contains(m.Payload, number) {
			m.Payload = bytes.Replace(m.Payload, number, append(number, '9'), 1)
		} else {
			m.Payload[0] ^= 0x40
		}
	}
}
