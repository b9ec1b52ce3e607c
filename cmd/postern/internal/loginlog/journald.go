package loginlog

import (
	"bytes"
	"time"
)

// A record holds the fields of one entry of journald that are read.
type record struct {
	realtime, identifier, message []byte
	several                       bool // a field appeared twice
}

// field returns the field of this name, or nil if it is not read.
func (r *record) field(name []byte) *[]byte {
	switch string(name) {
	case "__REALTIME_TIMESTAMP":
		return &r.realtime
	case "SYSLOG_IDENTIFIER":
		return &r.identifier
	case "MESSAGE":
		return &r.message
	}
	return nil
}

// set sets the field of this name, without a copy of value.
func (r *record) set(name, value []byte) {
	if to := r.field(name); to != nil {
		r.several = r.several || *to != nil
		*to = value
	}
}

// login reads the entry into e.
func (r *record) login(p *parser, e *Event) meaning {
	if r.several {
		return obscure
	}
	microseconds := int64(0)
	for _, c := range r.realtime {
		if c < '0' || c > '9' || microseconds > 1<<58 {
			return obscure
		}
		microseconds = microseconds*10 + int64(c-'0')
	}
	if microseconds == 0 {
		return obscure
	}
	e.At = time.UnixMicro(microseconds)
	return p.message(r.identifier, r.message, e)
}

// json reads a line that is a JSON object: an entry of journald, or a line of postern's log.
func (p *parser) json(line []byte, e *Event) meaning {
	var r record
	var f posternFields
	ok := eachField(line, func(name, value []byte) bool {
		r.set(name, value)
		return f.set(name, value)
	})
	switch {
	case !ok:
		return obscure
	case len(r.realtime) > 0 && f.seen == 0:
		return r.login(p, e)
	}
	return f.login(&p.clock, e)
}

// exportStart begins the first entry of journalctl -o export.
var exportStart = []byte("__CURSOR=")

// exported reads a line of journalctl -o export. An empty one ends an entry. For a field with binary content, of which
// the line is only the name, binary is true.
func (p *parser) exported(line []byte, e *Event) (m meaning, binary bool) {
	if len(line) == 0 {
		*e = Event{}
		defer func() { *p.export = record{} }()
		if len(p.export.realtime) == 0 {
			return other, false
		}
		return p.check(p.export.login(p, e), e), false
	}
	name, value, ok := bytes.Cut(line, []byte("="))
	if !ok {
		return continues, true
	}
	if p.export.field(name) != nil {
		p.export.set(name, bytes.Clone(value))
	}
	return continues, false
}
