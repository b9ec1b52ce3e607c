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

// Counts says what a [Server] has done since it started.
type Counts struct {
	Accepted   int64 `json:"accepted"`    // passwords that were right
	Denied     int64 `json:"denied"`      // passwords that were wrong
	TurnedAway int64 `json:"turned_away"` // attempts that found the line full
	Open       int64 `json:"open"`        // connections open now
}

// control is the HTTP side.
func (s *Server) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /auth", s.auth)
	mux.HandleFunc("GET /counts", s.counts)
	mux.HandleFunc("POST /limit", s.limit)
	mux.HandleFunc("POST /ring", s.ring)
	return mux
}

// auth answers nginx, which asks for every login where to relay it.
func (s *Server) auth(w http.ResponseWriter, r *http.Request) {
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
	_ = json.NewEncoder(w).Encode(Counts{s.desk.accepted.Load(), s.desk.denied.Load(), s.desk.turnedAway.Load(), s.open.Load()})
}

func (s *Server) limit(w http.ResponseWriter, r *http.Request) {
	rate, errRate := strconv.ParseFloat(r.FormValue("rate"), 64)
	takes, errTakes := time.ParseDuration(r.FormValue("takes"))
	queue, errQueue := strconv.Atoi(r.FormValue("queue"))
	if errRate != nil || errTakes != nil || errQueue != nil || rate < 0 || takes < 0 || queue < 0 {
		http.Error(w, "rate and queue must be numbers, takes a time", http.StatusBadRequest)
		return
	}
	s.desk.limit(rate, takes, queue)
}

func (s *Server) ring(w http.ResponseWriter, r *http.Request) {
	rate, err := strconv.ParseFloat(r.FormValue("rate"), 64)
	if err != nil || rate < 0 {
		http.Error(w, "rate must be a number", http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(s.bell.ring(s.ctx, rate))
}

// Control reaches a [Server] in another process.
type Control struct{ Addr string }

// Counts asks what the server has done.
func (c Control) Counts(ctx context.Context) (n Counts, err error) {
	err = c.ask(ctx, "GET", "/counts", func(r *http.Response) error { return json.NewDecoder(r.Body).Decode(&n) })
	return n, err
}

// Limit sets how many passwords are checked a second, how long each check takes,
// and how many attempts may wait for one; 0 is any number. The line starts anew.
func (c Control) Limit(ctx context.Context, rate float64, takes time.Duration, queue int) error {
	values := url.Values{"rate": {fmt.Sprint(rate)}, "takes": {takes.String()}, "queue": {fmt.Sprint(queue)}}
	return c.ask(ctx, "POST", "/limit?"+values.Encode(), func(*http.Response) error { return nil })
}

// Ring lets the server say so many lines a second on the connections that idle,
// each in turn, or none any more, and returns how many it has said so far.
func (c Control) Ring(ctx context.Context, rate float64) (rung int64, err error) {
	err = c.ask(ctx, "POST", "/ring?"+url.Values{"rate": {fmt.Sprint(rate)}}.Encode(), func(r *http.Response) error {
		return json.NewDecoder(r.Body).Decode(&rung)
	})
	return rung, err
}

// ask makes one request.
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
		return fmt.Errorf("stand-in mail server: %s says %s", path, resp.Status)
	}
	return read(resp)
}
