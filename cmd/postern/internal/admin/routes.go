package admin

import (
	_ "embed"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/explain"
	"postern/cmd/postern/internal/firewall"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/page"
	"postern/cmd/postern/internal/view"
	"postern/limiter/watch/report"
)

// Where the server answers that need no type of their own.
const (
	readyPath   = "/readyz"
	openAPIPath = "/v1/openapi.yaml"
	loginPath   = "/page/login"
	logoutPath  = "/page/logout"
	// SessionPath answers with a Session: what the sender of the request may do.
	SessionPath = "/page/session"
)

// openAPI describes all routes for other programs.
//
//go:embed openapi.yaml
var openAPI []byte

// route is one method and path of ADMIN_LISTEN, with what serves it.
type route struct {
	method, path string
	needs        role // none: everybody
	operation
	meaning string
}

// routes lists every route, in the order of the reference. Methods other than GET
// change something, and each is logged.
func routes() []route {
	return []route{
		{"GET", "/metrics", roleNone, plain((*Server).serveMetrics), "metrics for Prometheus"},
		{"GET", "/livez", roleNone, plain((*Server).serveLivez), "200 while requests are answered"},
		{"GET", readyPath, roleNone, plain((*Server).serveReadyz), "200 if new clients should be sent here, else 503 and why not"},
		{"GET", monitor.Path, roleNone, answers((*Server).state), "state for monitoring systems, without addresses and accounts"},
		{"GET", view.Path, roleNone, answers((*Server).view), "what the page shows; addresses and accounts only for operators and readers"},
		{"GET", view.LivePath, roleNone, streams[view.View]((*Server).serveLive), "the same as server-sent events, one a second"},
		{"GET", IncidentsPath, roleReader, answers((*Server).incidents), "incidents that are remembered, the latest first"},
		{"POST", IncidentsPath, roleOperator, takes((*Server).command, bodyMax), "acts on an incident; answers with the new events"},
		{"GET", IncidentsPath + "/{id}", roleReader, answers((*Server).incident), "one incident, by its ID or `latest`"},
		{"GET", ReportPath, roleReader, offers[report.Report]((*Server).serveReport), "report on an incident in Markdown or JSON"},
		{"GET", decisions.Path, roleReader, answers((*Server).decisions), "decisions in force, the newest first"},
		{"GET", firewall.StreamPath, roleReader, answers((*Server).firewall), "sources that a firewall should drop, as the local API of CrowdSec has them"},
		{"POST", decisions.Path, roleOperator, takes((*Server).decide, bodyMax), "makes a decision; 409 with `needs_force` if it may lock users out"},
		{"DELETE", decisions.Path + "/{id}", roleOperator, answers((*Server).end), "ends a decision, and answers with it"},
		{"POST", decisions.ReleasePath, roleOperator, takes((*Server).release, bodyMax), "forgets the denials of an address, a network or an account"},
		{"POST", decisions.ForgetPath, roleOperator, takes((*Server).forget, bodyMax), "forgets what is known of an account"},
		{"GET", explain.Path, roleReader, answers((*Server).explain), "explains what happened to a session, an address, a network or an account"},
		{"POST", LearnPath, roleOperator, slow(takes((*Server).learn, learnMax), learnTime, 2*learnTime), "merges what `postern learn` has learned"},
		{"POST", UpgradePath, roleOperator, slow(takes((*Server).upgrade, bodyMax), 0, UpgradeTime), "starts the next generation, and answers once it serves"},
		{"POST", ReloadPath, roleOperator, slow(takes((*Server).reload, bodyMax), 0, UpgradeTime), "reads the settings again"},
		{"GET", openAPIPath, roleNone, writes((*Server).serveOpenAPI), "OpenAPI description of this table"},
		{"GET", "/{$}", roleNone, writes((*Server).servePage), "the page"},
		{"GET", "/page/", roleNone, writes((*Server).servePage), "files of the page"},
		{"POST", loginPath, roleNone, signsIn((*Server).login), "exchanges a token for the cookie of a session"},
		{"POST", logoutPath, roleNone, signsIn((*Server).logout), "ends the session of a browser"},
		{"GET", SessionPath, roleNone, answers((*Server).session), "role of the session, and its CSRF token"},
	}
}

// Markdown returns the table of all routes for the reference. Their path is as in
// openapi.yaml.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| request | needs | answer |\n|---|---|---|\n")
	for _, r := range routes() {
		needs := r.needs.String()
		if r.needs == roleNone {
			needs = ""
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", r.method, r.documentedPath(), needs, r.meaning)
	}
	return b.String()
}

// documentedPath is the path as openapi.yaml has it.
func (r route) documentedPath() string {
	switch r.path {
	case "/{$}":
		return "/"
	case "/page/":
		return "/page/{file}"
	}
	return r.path
}

// operation is what serves a route, with the types of its JSON.
type operation struct {
	// serve answers q with a value, or has written to w and returns nil. An error
	// becomes a Problem.
	serve func(s *Server, w http.ResponseWriter, q *query) (any, error)

	request, answer reflect.Type // nil: none, or no JSON
	isStream        bool         // of events, each an answer
	isPlain         bool         // errors are plain text; no token is looked at
}

// query is one request with its sender.
type query struct {
	*http.Request
	time   time.Time
	sender sender
	attrs  attrs // for the log
}

// plain is an operation for probes.
func plain(serve func(*Server, http.ResponseWriter, *http.Request)) operation {
	e := writes(func(s *Server, w http.ResponseWriter, q *query) error {
		serve(s, w, q.Request)
		return nil
	})
	e.isPlain = true
	return e
}

// writes is an operation that writes its answer.
func writes(serve func(*Server, http.ResponseWriter, *query) error) operation {
	return operation{serve: func(s *Server, w http.ResponseWriter, q *query) (any, error) { return nil, serve(s, w, q) }}
}

// offers is an operation that writes its answer, as the JSON of an A or otherwise.
func offers[A any](serve func(*Server, http.ResponseWriter, *query) error) operation {
	e := writes(serve)
	e.answer = reflect.TypeFor[A]()
	return e
}

// streams is an operation that writes events, each an A.
func streams[A any](serve func(*Server, http.ResponseWriter, *query) error) operation {
	e := offers[A](serve)
	e.isStream = true
	return e
}

// answers is an operation that answers with JSON.
func answers[A any](do func(*Server, *query) (A, error)) operation {
	return operation{answer: reflect.TypeFor[A](), serve: func(s *Server, _ http.ResponseWriter, q *query) (any, error) { return do(s, q) }}
}

// takes is an operation that answers a request of at most limit octets.
func takes[Q, A any](do func(*Server, *query, Q) (A, error), limit int64) operation {
	return operation{
		request: reflect.TypeFor[Q](), answer: reflect.TypeFor[A](),
		serve: func(s *Server, w http.ResponseWriter, q *query) (any, error) {
			var request Q
			if err := decode(w, q.Request, limit, &request); err != nil {
				return nil, err
			}
			return do(s, q, request)
		},
	}
}

// signsIn is takes, for what sets a cookie.
func signsIn[Q, A any](do func(*Server, http.ResponseWriter, *query, Q) (A, error)) operation {
	e := takes(func(*Server, *query, Q) (a A, err error) { return a, nil }, bodyMax)
	e.serve = func(s *Server, w http.ResponseWriter, q *query) (any, error) {
		var request Q
		if err := decode(w, q.Request, bodyMax, &request); err != nil {
			return nil, err
		}
		return do(s, w, q, request)
	}
	return e
}

// adminHandler serves all routes.
func (s *Server) adminHandler() http.Handler {
	byPath := map[string]map[string]route{}
	for _, r := range routes() {
		if byPath[r.path] == nil {
			byPath[r.path] = map[string]route{}
		}
		byPath[r.path][r.method] = r
		if r.method == http.MethodGet {
			byPath[r.path][http.MethodHead] = r
		}
	}
	mux := http.NewServeMux()
	for path, byMethod := range byPath {
		allowed := strings.Join(slices.Sorted(maps.Keys(byMethod)), ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, q *http.Request) {
			r, found := byMethod[q.Method]
			if !found {
				newProblem(http.StatusMethodNotAllowed, fmt.Sprintf("got method %.16q, want %s", q.Method, allowed), "Allow", allowed).write(w)
				return
			}
			s.handle(r, w, q)
		})
	}
	mux.HandleFunc("/", serveNothing)
	return withHeaders(cleanPaths(mux))
}

// serveNothing is for paths that are no route.
func serveNothing(w http.ResponseWriter, _ *http.Request) {
	newProblem(http.StatusNotFound, "there is nothing at this path: "+openAPIPath+" lists all").write(w)
}

// cleanPaths refuses paths with empty or dot segments, instead of redirecting to a
// route.
func cleanPaths(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clean := path.Clean(r.URL.Path)
		if clean != "/" && strings.HasSuffix(r.URL.Path, "/") {
			clean += "/"
		}
		if r.URL.Path != clean {
			serveNothing(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// withHeaders restricts what a browser does with an answer, and keeps it out of
// caches. What serves a file may allow caches.
func withHeaders(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", page.Policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// serveOpenAPI gives the description of all routes.
func (s *Server) serveOpenAPI(w http.ResponseWriter, _ *query) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPI) // fails if the client is gone
	return nil
}

// servePage gives the page and its files. Browsers ask each time whether a file has
// changed.
func (s *Server) servePage(w http.ResponseWriter, q *query) error {
	if s.gateway.Page == nil {
		return newProblem(http.StatusNotFound, "this postern has no page")
	}
	w.Header().Set("Cache-Control", "no-cache")
	s.gateway.Page.ServeHTTP(w, q.Request)
	return nil
}

// serveMetrics gives the metrics.
func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	s.gateway.Metrics.ServeHTTP(w, r)
}

// serveLivez reports that requests are answered. The watchdog of the service manager
// checks whether mail is.
func (s *Server) serveLivez(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "alive\n") }

// serveReadyz reports whether new clients should be sent here, or why not.
func (s *Server) serveReadyz(w http.ResponseWriter, _ *http.Request) {
	if why := s.gateway.Unready(); why != "" {
		http.Error(w, "not ready: "+why, http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

// state gives monitoring systems the state. It names no address and no account, so it
// needs no token.
func (s *Server) state(q *query) (monitor.State, error) { return s.gateway.State(q.time), nil }

// view gives what the page shows.
func (s *Server) view(q *query) (view.View, error) {
	return complete(s.gateway.View(q.time, q.sender.may(roleReader))), nil
}
