package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/explain"
	"postern/limiter/watch/incident"
)

// problemType is the media type of a Problem (RFC 9457).
const problemType = "application/problem+json"

// The types of problems. A blank one means no more than its status.
const (
	typeBlank      = "about:blank"
	typeNeedsForce = openAPIPath + "#/components/responses/NeedsForce"
)

// Problem is an answer that refuses a request, as RFC 9457 has it. It is an error
// whose text is Detail.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"` // of the status
	Status int    `json:"status"`
	Detail string `json:"detail"` // what was wrong, in one line

	NeedsForce bool   `json:"needs_force,omitempty"` // the same request with force would be executed
	Users      int    `json:"users,omitempty"`       // known users that it would affect, estimated
	Setting    string `json:"setting,omitempty"`     // the setting that the problem depends on

	// Message repeats Detail, as CrowdSec's API has it: its bouncers read it, and the one of Debian 12 crashes
	// without it.
	Message string `json:"message,omitempty"`

	header http.Header // of the answer
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// newProblem returns a problem with header fields, which are names and values in turn.
func newProblem(status int, detail string, fields ...string) *Problem {
	p := &Problem{Type: typeBlank, Title: http.StatusText(status), Status: status, Detail: detail, header: http.Header{}}
	for i := 0; i+1 < len(fields); i += 2 {
		p.header.Set(fields[i], fields[i+1])
	}
	return p
}

// retryAfter returns a problem that ends by itself.
func retryAfter(status int, wait time.Duration, detail string) *Problem {
	return newProblem(status, detail, "Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
}

// problemOf returns err as a problem. Errors that are of no known type have the
// status otherwise.
func problemOf(err error, otherwise int) *Problem {
	var p *Problem
	var force decisions.NeedsForceError
	var request decisions.RequestError
	var size *http.MaxBytesError
	text := eventlog.OneLine(err.Error())
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &force):
		p = newProblem(http.StatusConflict, text)
		p.Type, p.NeedsForce, p.Users = typeNeedsForce, true, force.Users
		return p
	case errors.Is(err, incident.ErrStillOn):
		p = newProblem(http.StatusConflict, text)
		p.Type, p.NeedsForce = typeNeedsForce, true
		return p
	case errors.Is(err, decisions.ErrNotFound), errors.Is(err, explain.ErrNotFound):
		return newProblem(http.StatusNotFound, text)
	case errors.As(err, &request):
		return newProblem(http.StatusBadRequest, text)
	case errors.As(err, &size):
		return newProblem(http.StatusRequestEntityTooLarge, "got a body of more than "+strconv.FormatInt(size.Limit, 10)+" octets")
	}
	return newProblem(otherwise, text)
}

// write answers with p.
func (p *Problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	answer := *p
	answer.Message = p.Detail
	text, _ := json.Marshal(answer) // has no value that cannot be encoded
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(text, '\n')) // fails if the client is gone
}

// readProblem returns the refusal with this status and body as an error: a
// decisions.NeedsForceError or a *Problem. Other servers, and the probes, send plain
// text.
func readProblem(status int, mediaType string, body []byte) error {
	p := &Problem{Type: typeBlank, Title: http.StatusText(status), Detail: string(body)}
	if strings.HasPrefix(mediaType, problemType) {
		if err := json.Unmarshal(body, p); err != nil {
			p.Detail = "got a problem that cannot be read: " + err.Error()
		}
	}
	p.Status, p.Detail = status, eventlog.OneLine(p.Detail)
	if len(p.Detail) > eventlog.ErrorMax {
		p.Detail = strings.ToValidUTF8(p.Detail[:eventlog.ErrorMax], "")
	}
	if p.Detail == "" {
		p.Detail = strconv.Itoa(status) + " " + http.StatusText(status)
	}
	if p.NeedsForce {
		return decisions.NeedsForceError{Reason: p.Detail, Users: p.Users}
	}
	return p
}
