package admin

import (
	"encoding/json"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/testbed"
)

// The tokens of the tests.
const (
	operatorToken = "the-token-of-operators"
	readerToken   = "the-token-of-readers"
)

// startWithTokens serves at TCP with both tokens.
func startWithTokens(t *testing.T) *running {
	t.Helper()
	return start(t, "POSTERN_ADMIN_TOKEN_FILE="+testbed.WriteFile(t, operatorToken+"\n"), "POSTERN_ADMIN_READ_TOKEN_FILE="+testbed.WriteFile(t, readerToken))
}

// bearer is the header with a token.
func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

// with returns the header with one more field.
func with(header map[string]string, name, value string) map[string]string {
	header = maps.Clone(header)
	if header == nil {
		header = map[string]string{}
	}
	header[name] = value
	return header
}

// problem reads the problem of an answer.
func problem(t *testing.T, text string) Problem {
	t.Helper()
	var p Problem
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Errorf("got %q: %v", text, err)
	}
	if p.Type == "" || p.Title != http.StatusText(p.Status) || p.Detail == "" || strings.ContainsAny(p.Detail, "\n\r\x1b") {
		t.Errorf("got problem %+v", p)
	}
	return p
}

// TestRoles: each route serves those with its role, and no others.
func TestRoles(t *testing.T) {
	s := startWithTokens(t)
	for _, r := range routes() {
		if r.isStream || r.path == loginPath || r.path == logoutPath {
			continue
		}
		path := strings.NewReplacer("{id}", "none", "{$}", "").Replace(r.path)
		for role, token := range map[role]string{roleNone: "", roleReader: readerToken, roleOperator: operatorToken} {
			q := request{method: r.method, path: path}
			if token != "" {
				q.header = bearer(token)
			}
			code, text := s.ask(t, q)
			want := 0 // any answer of the handler
			switch {
			case role >= r.needs:
			case role == roleNone:
				want = http.StatusUnauthorized
			default:
				want = http.StatusForbidden
			}
			if denied := code == http.StatusUnauthorized || code == http.StatusForbidden; denied != (want != 0) || want != 0 && code != want {
				t.Errorf("%s %s by %v: got %d %s", r.method, path, role, code, text)
			}
			if want == http.StatusForbidden && problem(t, text).Detail != "the token is read-only" {
				t.Errorf("%s %s: got %s", r.method, path, text)
			}
		}
	}
}

// TestDetailNeedsAToken: addresses and accounts are only in the views of readers and
// operators. A wrong token is refused, also where none is needed.
func TestDetailNeedsAToken(t *testing.T) {
	s := startWithTokens(t)
	for token, want := range map[string]bool{"": false, readerToken: true, operatorToken: true} {
		q := request{method: "GET", path: "/v1/view"}
		if token != "" {
			q.header = bearer(token)
		}
		if code, text := s.ask(t, q); code != http.StatusOK || strings.Contains(text, `"detail"`) != want {
			t.Errorf("%q: got %d %s", token, code, text)
		}
	}
	for _, token := range []string{"wrong", operatorToken[1:], operatorToken + "x", strings.ToUpper(operatorToken), "\xff"} {
		if code, text := s.ask(t, request{method: "GET", path: "/v1/view", header: bearer(token)}); code != http.StatusUnauthorized || problem(t, text).Setting != tokenSetting {
			t.Errorf("%q: got %d %s", token, code, text)
		}
	}
}

// TestPathsAndMethods that are no route are problems, and no path is cleaned into one.
func TestPathsAndMethods(t *testing.T) {
	s := startWithTokens(t)
	for name, tt := range map[string]struct {
		method, path string
		code         int
		says         string
	}{
		"unknown path":         {"GET", "/v1/none", 404, "/v1/openapi.yaml lists all"},
		"dot segments":         {"GET", "/v1/../v1/state", 404, "/v1/openapi.yaml lists all"},
		"encoded dot segments": {"GET", "/v1/%2e%2e/v1/state", 404, "/v1/openapi.yaml lists all"},
		"out of the page":      {"GET", "/page/../v1/incidents", 404, "/v1/openapi.yaml lists all"},
		"encoded slash":        {"GET", "/page/..%2fv1/incidents", 404, "/v1/openapi.yaml lists all"},
		"two slashes":          {"GET", "/v1//state", 404, "/v1/openapi.yaml lists all"},
		"slash at the end":     {"GET", "/v1/state/", 404, "/v1/openapi.yaml lists all"},
		"capitals":             {"GET", "/V1/state", 404, "/v1/openapi.yaml lists all"},
		"NUL":                  {"GET", "/v1/state%00", 404, "/v1/openapi.yaml lists all"},
		"method":               {"DELETE", "/v1/state", 405, "got method \"DELETE\", want GET, HEAD"},
		"method of the page":   {"POST", "/page/app.js", 405, "want GET, HEAD"},
		"login by GET":         {"GET", "/page/login", 405, "want POST"},
		"unknown method":       {"BREW", "/v1/decisions", 405, "want GET, HEAD, POST"},
		"long method":          {strings.Repeat("A", 500), "/v1/decisions", 405, `got method "AAAAAAAAAAAAAAAA", want GET, HEAD, POST`},
		"options":              {"OPTIONS", "/v1/decisions", 405, "want GET, HEAD, POST"},
		"state":                {"GET", "/v1/state", 200, ""},
	} {
		resp := s.send(t, request{method: tt.method, path: tt.path})
		resp.Body.Close()
		code, text := s.ask(t, request{method: tt.method, path: tt.path})
		if code != tt.code || tt.says != "" && !strings.Contains(problem(t, text).Detail, tt.says) {
			t.Errorf("%s: got %d %s, want %d %s", name, code, text, tt.code, tt.says)
		}
		if code == http.StatusMethodNotAllowed && resp.Header.Get("Allow") == "" {
			t.Errorf("%s: got no Allow", name)
		}
	}
}

// TestHeaders: every answer restricts the browser, and those of the API are not cached.
func TestHeaders(t *testing.T) {
	s := startWithTokens(t)
	for path, cache := range map[string]string{"/": "no-cache", "/page/app.js": "no-cache", "/v1/state": "no-store", "/v1/none": "no-store", "/page/session": "no-store", "/v1/incidents": "no-store"} {
		resp := s.send(t, request{method: "GET", path: path})
		resp.Body.Close()
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": cache,
			"Access-Control-Allow-Origin": "",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: got %s: %q, want %q", path, name, got, want)
			}
		}
	}
}

// TestRequestMistakes each get one clear line, and the gateway is not asked.
func TestRequestMistakes(t *testing.T) {
	s := startWithTokens(t)
	good := `{"kind":"block","network":"192.0.2.0/24","by":"anna"}`
	for name, tt := range map[string]struct {
		body, contentType string
		code              int
		says              string
	}{
		"nothing":         {"", "", 400, "got no body, want JSON"},
		"no JSON":         {"kind=block", "", 400, "not the JSON of this request: invalid character 'k'"},
		"form":            {"kind=block", "application/x-www-form-urlencoded", 415, `got a body of type "application/x-www-form-urlencoded", want application/json`},
		"text":            {good, "text/plain", 415, "want application/json"},
		"malformed type":  {good, "application/json;;=", 415, "want application/json"},
		"with a charset":  {good, "application/json; charset=utf-8", 200, ""},
		"unknown field":   {`{"kind":"block","colour\u001b[2J":"red"}`, "", 400, `unknown field`},
		"long field":      {`{"` + strings.Repeat("x", 10_000) + `":1}`, "", 400, `unknown field`},
		"wrong type":      {`{"kind":1}`, "", 400, "cannot unmarshal number"},
		"a list":          {`[]`, "", 400, "cannot unmarshal array"},
		"trailing JSON":   {good + good, "", 400, "text after the JSON value"},
		"trailing text":   {good + "x", "", 400, "text after the JSON value"},
		"trailing spaces": {good + "\n\t ", "", 200, ""},
		"cut":             {good[:20], "", 400, "unexpected EOF"},
		"too long":        {`{"comment":"` + strings.Repeat("x", bodyMax) + `"}`, "", 413, "want at most 16384"},
		"padded":          {good + strings.Repeat(" ", bodyMax), "", 413, "want at most 16384"},
		"deep":            {strings.Repeat("[", bodyMax), "", 400, "not the JSON of this request"},
	} {
		s.asked.Store("nothing")
		header := bearer(operatorToken)
		if tt.contentType != "" {
			header["Content-Type"] = tt.contentType
		}
		code, text := s.ask(t, request{method: "POST", path: decisions.Path, header: header, body: tt.body})
		if code != tt.code || tt.code != 200 && !strings.Contains(problem(t, text).Detail, tt.says) || len(text) > 1000 {
			t.Errorf("%s: got %d %s, want %d %s", name, code, text, tt.code, tt.says)
		}
		if asked := s.asked.Load() != "nothing"; asked != (tt.code == 200) {
			t.Errorf("%s: the gateway was asked: %v", name, asked)
		}
	}
	header := with(bearer(operatorToken), "X-Long", strings.Repeat("x", 64<<10))
	if code, _ := s.ask(t, request{method: "POST", path: decisions.Path, header: header, body: good}); code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("long header: got %d", code)
	}
}

// TestDecisions: requests arrive as they were sent but for control and format characters,
// refusals have their status, and each is logged.
func TestDecisions(t *testing.T) {
	s := startWithTokens(t)
	for name, tt := range map[string]struct {
		method, path, body string
		code               int
		says, asked        string
		logged             []string
	}{
		"block": {"POST", decisions.Path, `{"kind":"block","network":"192.0.2.0/24","for":"1h","by":"Åsa\u202e\r\nX-Evil: 1","comment":"too \u0000much","from":"198.51.100.7"}`, 200, `"id":"a1"`,
			"{Kind:block Network:192.0.2.0/24 For:1h By:Åsa  X-Evil: 1 Comment:too  much From:198.51.100.7 Force:false} from 127.0.0.1",
			[]string{"rip=127.0.0.1:", "role=operator", `by="\\xc3\\x85sa  X-Evil: 1"`, "action=block", "network=192.0.2.0/24", "for=1h", `comment="too  much"`, "by_addr=198.51.100.7", "force=false"}},
		"own address":     {"POST", decisions.Path, `{"kind":"block","network":"127.0.0.1","by":"anna"}`, 409, "this is your own address", "", []string{"network=127.0.0.1", "your own"}},
		"with force":      {"POST", decisions.Path, `{"kind":"block","network":"127.0.0.1","by":"anna","force":true}`, 200, `"id":"a1"`, "", []string{"network=127.0.0.1", "force=true"}},
		"bad":             {"POST", decisions.Path, `{"kind":"block","network":"bad","by":"anna"}`, 400, "this is bad", "", []string{"network=bad", "this is bad"}},
		"end":             {"DELETE", decisions.Path + "/a1?by=%1b[2Janna%ff", "", 200, `"id":"a1"`, `end "a1" by "[2Janna�"`, []string{"action=end", "decision=a1", "role=operator"}},
		"end of none":     {"DELETE", decisions.Path + "/none", "", 404, "there is no such decision in force", `end "none" by ""`, []string{"action=end", "decision=none", "there is no such decision"}},
		"path as ID":      {"DELETE", decisions.Path + "/a%2f..%2fb", "", 404, "nothing at this path", "", nil},
		"release":         {"POST", decisions.ReleasePath, `{"of":"anna@example.org\u0007","by":"berta"}`, 200, `"ended":[],"blocked":[]`, "", []string{"action=release", `of=anna@example.org\x07`, "by=berta"}},
		"forget":          {"POST", decisions.ForgetPath, `{"account":"anna=\"x\"","by":"berta"}`, 200, `"known":false`, "", []string{"action=forget", `account=anna\x3d\x22x\x22`}},
		"upgrade":         {"POST", UpgradePath, "", 200, `"number":2`, "", []string{"action=upgrade"}},
		"reload":          {"POST", ReloadPath, "{}", 200, `"changed":[],"restart":[]`, "", []string{"action=reload"}},
		"by a reader":     {"POST", decisions.ForgetPath, `{"account":"anna"}`, 403, "the token is read-only", "", []string{"role=reader", `action="POST /v1/forget"`, "the token is read-only"}},
		"without a token": {"DELETE", decisions.Path + "/a1", "", 401, "this needs the token", "", []string{"role=none", `action="DELETE /v1/decisions/{id}"`, "this needs the token"}},
	} {
		q := request{method: tt.method, path: tt.path, header: bearer(operatorToken), body: tt.body}
		switch name {
		case "by a reader":
			q.header = bearer(readerToken)
		case "without a token":
			q.header = nil
		}
		code, text := s.ask(t, q)
		if code != tt.code || !strings.Contains(text, tt.says) {
			t.Errorf("%s: got %d %s, want %d %s", name, code, text, tt.code, tt.says)
		}
		if tt.asked != "" && s.asked.Load() != tt.asked {
			t.Errorf("%s: got request %v, want %s", name, s.asked.Load(), tt.asked)
		}
		if tt.logged != nil {
			s.log.Await(t, append([]string{"operator command", "event=admin"}, tt.logged...)...)
		}
		if name == "own address" {
			if p := problem(t, text); !p.NeedsForce || p.Users != 3 || p.Type != typeNeedsForce {
				t.Errorf("%s: got %+v", name, p)
			}
		}
	}
}

// TestRefusalsAreLoggedSparingly for those without a token: they cannot fill the log.
func TestRefusalsAreLoggedSparingly(t *testing.T) {
	s := startWithTokens(t)
	for range 300 {
		s.ask(t, request{method: "POST", path: decisions.ForgetPath})
	}
	s.ask(t, request{method: "POST", path: decisions.ForgetPath, header: bearer(operatorToken), body: `{"account":"last","by":"anna"}`})
	s.log.Await(t, "operator command", "account=last")
	if n := strings.Count(s.log.String(), "operator command"); n > 200 {
		t.Errorf("got %d lines", n)
	}
}

// TestExplainAsksForASubject of bounded length.
func TestExplainAsksForASubject(t *testing.T) {
	s := startWithTokens(t)
	for query, want := range map[string]int{"": 400, "?about=": 400, "?about=" + strings.Repeat("x", 1025): 400, "?about=bad": 400, "?about=anna%0a": 200} {
		if code, text := s.ask(t, request{method: "GET", path: "/v1/explain" + query, header: bearer(readerToken)}); code != want {
			t.Errorf("%.20s: got %d %s, want %d", query, code, text, want)
		}
	}
}

// TestNoPage: without a page there is nothing at its paths.
func TestNoPage(t *testing.T) {
	s := start(t, "POSTERN_ADMIN_LISTEN=unix:"+filepath.Join(t.TempDir(), "s"))
	s.Server.gateway.Page = nil
	for _, path := range []string{"/", "/page/app.js"} {
		if code, text := s.ask(t, request{method: "GET", path: path}); code != http.StatusNotFound || problem(t, text).Status != code {
			t.Errorf("%s: got %d %s", path, code, text)
		}
	}
}

// TestRoutesAreUnique: no method and path is there twice, and what everybody may ask
// for changes nothing but a session.
func TestRoutesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range routes() {
		key := r.method + " " + r.path
		if seen[key] {
			t.Errorf("%s is there twice", key)
		}
		seen[key] = true
		if r.method != http.MethodGet && r.needs != roleOperator && !slices.Contains([]string{loginPath, logoutPath}, r.path) {
			t.Errorf("%s needs the role %v", key, r.needs)
		}
	}
}
