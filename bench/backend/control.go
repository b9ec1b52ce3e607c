package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Counts is how many passwords a [Server] has checked since it started.
type Counts struct {
	Accepted int64 `json:"accepted"` // right passwords
	Denied   int64 `json:"denied"`   // wrong passwords
	Former   int64 `json:"former"`   // of those, passwords that were right before
}

// control is the HTTP handler of a server.
func (s *Server) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /auth", s.nginxAuth)
	mux.HandleFunc("GET /counts", s.counts)
	mux.HandleFunc("POST /limit", s.limit)
	mux.HandleFunc("POST /notify", s.notify)
	return mux
}

// nginxAuth tells nginx for every login to which server to relay it.
func (s *Server) nginxAuth(w http.ResponseWriter, r *http.Request) {
	addr := s.Addrs.ProxiedIMAP
	if r.Header.Get("Auth-Protocol") == "pop3" {
		addr = s.Addrs.ProxiedPOP3
	}
	host, port, _ := net.SplitHostPort(addr)
	h := w.Header()
	h.Set("Auth-Status", "OK")
	h.Set("Auth-Server", host)
	h.Set("Auth-Port", port)
}

func (s *Server) counts(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(Counts{s.auth.accepted.Load(), s.auth.denied.Load(), s.auth.former.Load()})
}

func (s *Server) limit(w http.ResponseWriter, r *http.Request) {
	rate, errRate := strconv.ParseFloat(r.FormValue("rate"), 64)
	takes, errTakes := time.ParseDuration(r.FormValue("takes"))
	queue, errQueue := strconv.Atoi(r.FormValue("queue"))
	if errRate != nil || errTakes != nil || errQueue != nil || rate < 0 || takes < 0 || queue < 0 {
		http.Error(w, "want rate and queue as numbers, takes as a duration, none of them negative", http.StatusBadRequest)
		return
	}
	s.auth.setLimit(rate, takes, queue)
}

func (s *Server) notify(w http.ResponseWriter, r *http.Request) {
	rate, err := strconv.ParseFloat(r.FormValue("rate"), 64)
	if err != nil || rate < 0 {
		http.Error(w, "want rate as a number that is not negative", http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(s.notifier.setRate(s.ctx, rate))
}

// Control controls a [Server] in another process.
type Control struct{ Addr string }

// Counts returns how many passwords the server has checked.
func (c Control) Counts(ctx context.Context) (n Counts, err error) {
	err = c.ask(ctx, "GET", "/counts", func(r *http.Response) error { return json.NewDecoder(r.Body).Decode(&n) })
	return n, err
}

// Limit sets how many password checks start a second, how long each takes, and
// how many may wait; 0 is no limit. The queue starts empty.
func (c Control) Limit(ctx context.Context, rate float64, takes time.Duration, queue int) error {
	values := url.Values{"rate": {fmt.Sprint(rate)}, "takes": {takes.String()}, "queue": {fmt.Sprint(queue)}}
	return c.ask(ctx, "POST", "/limit?"+values.Encode(), func(*http.Response) error { return nil })
}

// Notify makes the server send that many lines a second to the clients in IDLE,
// to one after the other, or none for 0. It returns how many it has sent so far.
func (c Control) Notify(ctx context.Context, rate float64) (sent int64, err error) {
	err = c.ask(ctx, "POST", "/notify?"+url.Values{"rate": {fmt.Sprint(rate)}}.Encode(), func(r *http.Response) error {
		return json.NewDecoder(r.Body).Decode(&sent)
	})
	return sent, err
}

// ask makes one request; read gets its response.
func (c Control) ask(ctx context.Context, method, path string, read func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.Addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("stand-in mail server: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("stand-in mail server: %s: got status %s, want 200", path, resp.Status)
	}
	return read(resp)
}
