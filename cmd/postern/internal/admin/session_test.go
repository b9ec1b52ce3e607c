package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/testbed"
)

// browser is a session of the page.
type browser struct {
	cookie  *http.Cookie
	session Session
}

// logIn logs in with a token.
func (r *running) logIn(t *testing.T, token string) browser {
	t.Helper()
	resp := r.send(t, request{method: "POST", path: loginPath, body: fmt.Sprintf(`{"token":%q}`, token), header: map[string]string{
		"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin",
	}})
	defer resp.Body.Close()
	var b browser
	if err := json.NewDecoder(resp.Body).Decode(&b.session); err != nil || resp.StatusCode != http.StatusOK || len(resp.Cookies()) != 1 {
		t.Fatalf("got %d, %v, cookies %v", resp.StatusCode, err, resp.Cookies())
	}
	b.cookie = resp.Cookies()[0]
	return b
}

// header is what the browser sends, with its CSRF token.
func (b browser) header() map[string]string {
	return map[string]string{"Cookie": b.cookie.Name + "=" + b.cookie.Value, csrfHeader: b.session.CSRF, "Sec-Fetch-Site": "same-origin"}
}

// roleAt returns the role that the server gives to a browser.
func (r *running) roleAt(t *testing.T, header map[string]string) string {
	t.Helper()
	_, text := r.ask(t, request{method: "GET", path: SessionPath, header: header})
	var s Session
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("got %s: %v", text, err)
	}
	return s.Role
}

// TestSession: a login with either token gives its role, which the cookie has until it
// is deleted.
func TestSession(t *testing.T) {
	s := startWithTokens(t)
	for token, role := range map[string]string{operatorToken: "operator", readerToken: "reader"} {
		b := s.logIn(t, token)
		if c := b.cookie; c.Name != "postern_session" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.MaxAge != 12*60*60 || c.Domain != "" || strings.Contains(c.Value, token) {
			t.Errorf("got cookie %+v", c)
		}
		if b.session.Role != role || b.session.CSRF == "" || b.session.Socket {
			t.Errorf("got %+v", b.session)
		}
		if code, text := s.ask(t, request{method: "GET", path: decisions.Path, header: b.header()}); code != http.StatusOK {
			t.Errorf("read as %s: got %d %s", role, code, text)
		}
		code, text := s.ask(t, request{method: "POST", path: decisions.ForgetPath, header: b.header(), body: `{"account":"anna","by":"berta"}`})
		if want := map[string]int{"operator": 200, "reader": 403}[role]; code != want {
			t.Errorf("forget as %s: got %d %s", role, code, text)
		}
		if again := s.logIn(t, token); again.cookie.Value == b.cookie.Value || again.session.CSRF == b.session.CSRF {
			t.Error("two sessions have the same cookie or CSRF token")
		}
		if got := s.roleAt(t, map[string]string{"Cookie": "postern_session=x; postern_session=" + b.cookie.Value}); got != role {
			t.Errorf("after a cookie of another program: got %s", got)
		}
		resp := s.send(t, request{method: "POST", path: logoutPath, header: b.header()})
		resp.Body.Close()
		if c := resp.Cookies(); resp.StatusCode != http.StatusOK || len(c) != 1 || c[0].Value != "" || c[0].MaxAge >= 0 {
			t.Errorf("logout: got %d, %v", resp.StatusCode, c)
		}
	}
	s.log.Await(t, "operator command", "action=login", "session=operator")
	s.log.Await(t, "operator command", "action=logout", "role=reader")
	if strings.Contains(s.log.String(), operatorToken) || strings.Contains(s.log.String(), readerToken) {
		t.Error("the log has a token")
	}
}

// TestForgedCookies give no role: changed in any octet, of another role, of another
// token, or expired.
func TestForgedCookies(t *testing.T) {
	s, other := startWithTokens(t), startWithTokens(t)
	other.tokens = tokens{roleReader: "another-token-of-readers", roleOperator: "another-token-of-operators"}
	reader := s.logIn(t, readerToken).cookie.Value
	forged := map[string]string{
		"empty": "", "dot": ".", "dots": "...", "no MAC": reader[:strings.LastIndex(reader, ".")], "empty MAC": reader[:strings.LastIndex(reader, ".")+1],
		"of another role":     "operator" + strings.TrimPrefix(reader, "reader"),
		"of the role none":    "none" + strings.TrimPrefix(reader, "reader"),
		"of another token":    other.newCookie(sender{role: roleOperator, expires: time.Now().Add(time.Hour)}),
		"of the empty token":  (&Server{}).newCookie(sender{role: roleOperator, expires: time.Now().Add(time.Hour)}),
		"expired":             s.newCookie(sender{role: roleOperator, expires: time.Now().Add(-time.Second)}),
		"CSRF token as MAC":   strings.Join(append(strings.Split(reader, ".")[:3], s.mac(roleReader, "csrf", reader)), "."),
		"token as MAC":        strings.Join(append(strings.Split(reader, ".")[:3], readerToken), "."),
		"long":                strings.Repeat("reader.", 500),
		"longer than allowed": reader + "." + reader,
	}
	for i := range len(reader) {
		changed := []byte(reader)
		changed[i] ^= 1
		forged[fmt.Sprint("octet ", i)] = string(changed)
	}
	for name, value := range forged {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", cookieName+"="+value)
		if from := s.readCookie(r, time.Now()); from != (sender{}) {
			t.Errorf("%s: got %+v", name, from)
		}
	}
	if s.roleOf("") != roleNone || (&Server{}).roleOf("") != roleNone {
		t.Error("an empty token has a role")
	}
}

// TestSessionExpires after its time.
func TestSessionExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{tokens: tokens{roleOperator: operatorToken}}
		from := sender{role: roleOperator, expires: time.Now().Add(sessionTime)}
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(cookie(s.newCookie(from), 1))
		<-time.After(sessionTime - time.Second)
		if got := s.readCookie(r, time.Now()); got.role != roleOperator || !got.expires.Equal(from.expires) {
			t.Errorf("before: got %+v", got)
		}
		<-time.After(time.Second)
		if got := s.readCookie(r, time.Now()); got.role != roleNone {
			t.Errorf("after: got %+v", got)
		}
	})
}

// TestSessionOutlivesRestart: another process with the same token takes the cookie, and
// not once the token has changed.
func TestSessionOutlivesRestart(t *testing.T) {
	cookie := startWithTokens(t).logIn(t, operatorToken).cookie.Value
	header := map[string]string{"Cookie": cookieName + "=" + cookie}
	if role := startWithTokens(t).roleAt(t, header); role != "operator" {
		t.Errorf("got %s", role)
	}
	next := start(t, "POSTERN_ADMIN_TOKEN_FILE="+testbed.WriteFile(t, "a-new-token-of-operators"))
	if role := next.roleAt(t, header); role != "none" {
		t.Errorf("with another token: got %s", role)
	}
}

// TestCSRF: what changes anything needs the CSRF token of the same session, from the
// same origin.
func TestCSRF(t *testing.T) {
	s := startWithTokens(t)
	b, other := s.logIn(t, operatorToken), s.logIn(t, operatorToken)
	body := `{"account":"anna","by":"berta"}`
	for name, tt := range map[string]struct {
		header map[string]string
		code   int
	}{
		"right":              {b.header(), 200},
		"missing":            {with(b.header(), csrfHeader, ""), 403},
		"wrong":              {with(b.header(), csrfHeader, b.session.CSRF+"x"), 403},
		"of another session": {with(b.header(), csrfHeader, other.session.CSRF), 403},
		"the cookie":         {with(b.header(), csrfHeader, b.cookie.Value), 403},
		"cross-site":         {with(b.header(), "Sec-Fetch-Site", "cross-site"), 403},
		"same site":          {with(b.header(), "Sec-Fetch-Site", "same-site"), 403},
		"another origin":     {with(with(b.header(), "Sec-Fetch-Site", ""), "Origin", "https://evil.example"), 403},
		"null origin":        {with(with(b.header(), "Sec-Fetch-Site", ""), "Origin", "null"), 403},
		"form":               {with(b.header(), "Content-Type", "application/x-www-form-urlencoded"), 415},
		"cross-site form":    {map[string]string{"Cookie": b.header()["Cookie"], "Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site"}, 403},
	} {
		if code, text := s.ask(t, request{method: "POST", path: decisions.ForgetPath, header: tt.header, body: body}); code != tt.code {
			t.Errorf("%s: got %d %s, want %d", name, code, text, tt.code)
		}
	}
	if code, text := s.ask(t, request{method: "DELETE", path: decisions.Path + "/a1", header: with(b.header(), csrfHeader, "")}); code != 403 || !strings.Contains(problem(t, text).Detail, csrfHeader) {
		t.Errorf("delete: got %d %s", code, text)
	}
	if code, _ := s.ask(t, request{method: "POST", path: logoutPath, header: with(b.header(), csrfHeader, "")}); code != 403 {
		t.Errorf("logout: got %d", code)
	}
	if code, text := s.ask(t, request{method: "POST", path: loginPath, header: map[string]string{"Sec-Fetch-Site": "cross-site"}, body: `{"token":"` + operatorToken + `"}`}); code != 403 || problem(t, text).Status != 403 {
		t.Errorf("cross-site login: got %d %s", code, text)
	}
}

// TestLoginFlood: tries are few for a source, whatever their token, and the answer
// has the time of the next try.
func TestLoginFlood(t *testing.T) {
	s := startWithTokens(t)
	s.logins = newTries(rate.Every(time.Hour)) // no quiet machine is needed
	codes := map[int]int{}
	for i := range 50 {
		token := "wrong"
		if i >= loginBurst {
			token = operatorToken
		}
		resp := s.send(t, request{method: "POST", path: loginPath, body: fmt.Sprintf(`{"token":%q}`, token)})
		resp.Body.Close()
		codes[resp.StatusCode]++
		if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "1" {
			t.Errorf("got Retry-After %q", resp.Header.Get("Retry-After"))
		}
		if len(resp.Cookies()) > 0 {
			t.Error("got a cookie")
		}
	}
	if codes[http.StatusForbidden] != loginBurst || codes[http.StatusTooManyRequests] != 50-loginBurst {
		t.Errorf("got %v", codes)
	}
	s.log.Await(t, "action=login", "wrong token")
	if code, _ := s.ask(t, request{method: "GET", path: decisions.Path, header: bearer(operatorToken)}); code != http.StatusOK {
		t.Errorf("with the token: got %d", code)
	}
}

// TestNoLogin where no token exists, or none is needed.
func TestNoLogin(t *testing.T) {
	socket := start(t, "POSTERN_ADMIN_LISTEN=unix:"+filepath.Join(t.TempDir(), "s"), "POSTERN_ADMIN_TOKEN_FILE=/nowhere", "POSTERN_ADMIN_READ_TOKEN_FILE=/nowhere")
	for name, tt := range map[string]struct {
		s    *running
		says string
		want Session
	}{
		"no token": {start(t), "there is no admin token: set POSTERN_STATE_DIR", Session{Role: "none"}},
		"socket":   {socket, "the Unix socket needs no login", Session{Role: "operator", Socket: true}},
	} {
		if code, text := tt.s.ask(t, request{method: "POST", path: loginPath, body: `{"token":""}`}); code != 403 || !strings.Contains(problem(t, text).Detail, tt.says) {
			t.Errorf("%s: got %d %s", name, code, text)
		}
		var got Session
		_, text := tt.s.ask(t, request{method: "GET", path: SessionPath})
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != tt.want {
			t.Errorf("%s: got %s, %v", name, text, err)
		}
	}
	if code, text := socket.ask(t, request{method: "POST", path: decisions.ForgetPath, body: `{"account":"anna","by":"berta"}`}); code != 200 {
		t.Errorf("by socket: got %d %s", code, text)
	}
	if code, _ := socket.ask(t, request{method: "POST", path: decisions.ForgetPath, body: `{}`, header: map[string]string{"Origin": "https://evil.example"}}); code != 403 {
		t.Errorf("by socket from another origin: got %d", code)
	}
}
