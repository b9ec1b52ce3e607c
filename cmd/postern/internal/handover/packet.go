// Package handover connects the processes of one gateway during an upgrade. A running process starts the next one and
// passes it listeners, keys and what it knows, so that no client notices the upgrade. The kernel keeps the sockets; the
// processes only need a connection that transports both data and descriptors. That is a [Link]. [Start] starts the next
// process with one end of a link, [FromEnviron] finds it there.
//
// The service manager must follow: [Start] makes the new process a child of its own parent, [Notify] reports the new
// main process and stores descriptors, [Sockets] returns the descriptors that the service manager passed to this
// process.
//
// What the messages mean, when one process may stop and the other may begin, and what happens if either fails is not
// decided here but by the users of the package. It has no timeouts but those that they set, except for [Notify].
// It works on Linux; on other systems, every function that creates something returns [errors.ErrUnsupported].
package handover

import (
	"encoding/binary"
	"fmt"
	"os"
)

// Limits of a message.
const (
	// MaxPayload is the largest payload of a message, in octets.
	MaxPayload = 1 << 30
	// MaxFiles is the largest number of descriptors in a message. The limit of Linux is 253.
	MaxFiles = 64
)

// Kind says what a message is about. The users of a link define its values.
type Kind byte

// Message is what one call of [Link.Send] has sent.
type Message struct {
	Kind    Kind
	Payload []byte
	Files   []*os.File // close-on-exec; the receiver closes them
}

// A message travels as one or more packets. Each starts with a header of headerSize octets:
//
//	0     kind of the message
//	1     flags: flagFirst in the first packet of a message, flagLast in the last
//	2     number of descriptors that came with this packet; zero unless it is the first
//	3     zero
//	4-7   octets of the message that are left, those of this packet included; big-endian
const (
	headerSize = 8
	maxPacket  = 64 << 10 // with the header
	maxPart    = maxPacket - headerSize

	flagFirst = 1 << 0
	flagLast  = 1 << 1
)

// header is the decoded header of a packet.
type header struct {
	kind  Kind
	flags byte
	files int
	left  int
}

// appendTo appends the encoded header to b.
func (h header) appendTo(b []byte) []byte {
	b = append(b, byte(h.kind), h.flags, byte(h.files), 0)
	return binary.BigEndian.AppendUint32(b, uint32(h.left))
}

// nextPart returns the header of the next packet of a message, with left octets of its payload unsent, and the number
// of those that it carries.
func nextPart(kind Kind, first bool, files, left int) (header, int) {
	h := header{kind: kind, left: left}
	if first {
		h.flags |= flagFirst
		h.files = files
	}
	if left <= maxPart {
		h.flags |= flagLast
	}
	return h, min(left, maxPart)
}

// parsePacket splits a packet into its header and its part of the payload, and checks that they agree.
func parsePacket(packet []byte) (header, []byte, error) {
	if len(packet) < headerSize {
		return header{}, nil, fmt.Errorf("packet: got %d octets, want at least %d", len(packet), headerSize)
	}
	left := binary.BigEndian.Uint32(packet[4:])
	if left > MaxPayload {
		return header{}, nil, fmt.Errorf("packet: got a message of %d octets, want at most %d", left, MaxPayload)
	}
	h := header{kind: Kind(packet[0]), flags: packet[1], files: int(packet[2]), left: int(left)}
	part := packet[headerSize:]
	last := h.flags&flagLast != 0
	switch {
	case h.flags&^(flagFirst|flagLast) != 0 || packet[3] != 0:
		return header{}, nil, fmt.Errorf("packet: got header %x, want no unknown bits", packet[:headerSize])
	case h.files > MaxFiles:
		return header{}, nil, fmt.Errorf("packet: got %d descriptors announced, want at most %d", h.files, MaxFiles)
	case last && len(part) != h.left:
		return header{}, nil, fmt.Errorf("last packet: got %d octets of payload, want %d", len(part), h.left)
	case !last && (len(part) == 0 || len(part) >= h.left):
		return header{}, nil, fmt.Errorf("packet before the last: got %d octets of payload, want 1 to %d", len(part), h.left-1)
	}
	return h, part, nil
}

// joiner makes messages of packets.
type joiner struct {
	max     int // largest payload
	begun   bool
	left    int // of the begun message, in octets
	message Message
}

// add takes the next packet and the descriptors that came with it. It returns a message, and true, if the packet is the
// last of one. If there is an error, the caller closes the descriptors; those of a begun message are kept.
func (j *joiner) add(packet []byte, files []*os.File) (Message, bool, error) {
	h, part, err := parsePacket(packet)
	if err != nil {
		return Message{}, false, err
	}
	first := h.flags&flagFirst != 0
	switch {
	case len(files) != h.files:
		return Message{}, false, fmt.Errorf("packet of kind %d: got %d descriptors, want %d", h.kind, len(files), h.files)
	case first && j.begun:
		return Message{}, false, fmt.Errorf("packet: got the first of kind %d, want the rest of kind %d", h.kind, j.message.Kind)
	case first && h.left > j.max:
		return Message{}, false, fmt.Errorf("message of kind %d: got %d octets, want at most %d", h.kind, h.left, j.max)
	case !first && !j.begun:
		return Message{}, false, fmt.Errorf("packet: got one of the middle of kind %d, want the first of a message", h.kind)
	case !first && (h.kind != j.message.Kind || h.left != j.left || h.files != 0):
		return Message{}, false, fmt.Errorf("packet: got kind %d with %d octets left and %d descriptors, want kind %d, %d and 0",
			h.kind, h.left, h.files, j.message.Kind, j.left)
	}
	if first {
		j.begun = true
		j.message = Message{Kind: h.kind, Payload: make([]byte, 0, h.left), Files: files}
	}
	j.message.Payload = append(j.message.Payload, part...)
	j.left = h.left - len(part)
	if h.flags&flagLast == 0 {
		return Message{}, false, nil
	}
	message := j.message
	j.begun, j.message = false, Message{}
	return message, true, nil
}

// reset drops a begun message and closes its descriptors.
func (j *joiner) reset() {
	closeFiles(j.message.Files)
	j.begun, j.message = false, Message{}
}

// closeFiles closes files of a message that is not returned.
func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
