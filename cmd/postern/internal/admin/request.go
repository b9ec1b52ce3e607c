package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"time"

	"postern/cmd/postern/internal/eventlog"
)

// bodyMax is the largest request that is accepted unless a route has another limit, in
// octets.
const bodyMax = 16 << 10

// nothing is a request without content, of which the body may be empty.
type nothing struct{}

// attrs are the fields of a line in the log.
type attrs []slog.Attr

// handle answers one request for a route.
func (s *Server) handle(r route, w http.ResponseWriter, req *http.Request) {
	q := &query{Request: req, time: time.Now()}
	if r.isPlain {
		_, _ = r.serve(s, w, q)
		return
	}
	changes := r.method != http.MethodGet
	answer, err := s.answer(r, w, q)
	if changes {
		s.logCommand(r, q, err)
	}
	switch {
	case err != nil && changes:
		problemOf(err, http.StatusConflict).write(w)
	case err != nil:
		problemOf(err, http.StatusInternalServerError).write(w)
	case answer != nil:
		writeJSON(w, answer)
	}
}

// answer makes the answer, if the sender may have it.
func (s *Server) answer(r route, w http.ResponseWriter, q *query) (answer any, err error) {
	if q.sender, err = s.authorize(r, q); err != nil {
		return nil, err
	}
	return r.serve(s, w, q)
}

// logCommand logs what was asked for, and the error if it was refused. Of those
// without a token it logs a few a second.
func (s *Server) logCommand(r route, q *query, err error) {
	if !q.sender.may(roleReader) && err != nil && !s.strangerLog.AllowN(q.time, 1) {
		return
	}
	if q.attrs == nil {
		q.describe(r.method+" "+r.path, "")
	}
	line := append(attrs{slog.String("event", "admin"), slog.String("rip", q.RemoteAddr), slog.String("role", q.sender.role.String())}, q.attrs...)
	s.gateway.Log.LogAttrs(q.Context(), slog.LevelInfo, "operator command", append(line, eventlog.Error(err))...)
}

// remote returns the address that q comes from, the zero value for a Unix socket.
func (q *query) remote() netip.Addr {
	from, err := netip.ParseAddrPort(q.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}

// describe notes for the log what q asks for, and what its sender is called. fields
// are names and values in turn; those without a value are left out.
func (q *query) describe(action, by string, fields ...string) {
	fields = append([]string{"by", by, "action", action}, fields...)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i+1] != "" {
			q.note(slog.String(fields[i], eventlog.Printable(fields[i+1], eventlog.NameMax)))
		}
	}
}

// note adds to the line that is logged about q.
func (q *query) note(attr slog.Attr) { q.attrs = append(q.attrs, attr) }

// decode reads the JSON of a request of at most limit octets into v. An error is a
// Problem in one line.
func decode(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	if given := r.Header.Get("Content-Type"); given != "" {
		if media, _, err := mime.ParseMediaType(given); err != nil || media != "application/json" {
			return newProblem(http.StatusUnsupportedMediaType, fmt.Sprintf("got a body of type %.64q, want application/json", given))
		}
	}
	if r.ContentLength > limit { // need not be read
		return newProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("got a body of %d octets, want at most %d", r.ContentLength, limit))
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(v)
	if err == nil {
		if _, rest := decoder.Token(); rest != io.EOF {
			err = errors.Join(errors.New("text after the JSON value"), rest)
		}
	}
	var size *http.MaxBytesError
	_, isNothing := v.(*nothing)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &size):
		return newProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("got a body of more than %d octets", limit))
	case err == io.EOF && isNothing:
		return nil
	case err == io.EOF:
		return newProblem(http.StatusBadRequest, "got no body, want JSON")
	}
	return newProblem(http.StatusBadRequest, fmt.Sprintf("got a body that is not the JSON of this request: %.256s", eventlog.OneLine(err.Error())))
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		newProblem(http.StatusInternalServerError, eventlog.OneLine(err.Error())).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, string(text)+"\n")
}

// slow is e with longer timeouts than those of the server; a zero read leaves that of
// reading the request.
func slow(e operation, read, write time.Duration) operation {
	serve := e.serve
	e.serve = func(s *Server, w http.ResponseWriter, q *query) (any, error) {
		c := http.NewResponseController(w)
		if read > 0 {
			_ = c.SetReadDeadline(time.Now().Add(read)) // else the timeout of the server remains
		}
		_ = c.SetWriteDeadline(time.Now().Add(write)) // likewise
		return serve(s, w, q)
	}
	return e
}

// list returns l, and an empty list for nil: the JSON of a list is never null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
