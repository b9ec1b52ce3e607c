package notify

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

// sample is an alert that fires.
func sample() Alert {
	return Alert{
		Labels:      map[string]string{"alertname": "PosternAttack", "severity": "page", "incident": "i1"},
		Annotations: map[string]string{"summary": "Strangers try passwords."},
		Starts:      noon.In(time.FixedZone("CEST", 7200)),
	}
}

// receiver answers every request with code and stores the last one.
type receiver struct {
	*httptest.Server
	code int
	path string
	body []byte
	kind string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{code: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.path, r.kind = req.Method+" "+req.URL.Path, req.Header.Get("Content-Type")
		r.body, _ = io.ReadAll(req.Body)
		if r.code == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(r.code)
		io.WriteString(w, "  "+strings.Repeat("no ", 500))
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) at(t *testing.T, path string) *url.URL {
	t.Helper()
	u, err := url.Parse(r.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestAlertmanagerEnd: the end of an alert that fires moves forward.
func TestAlertmanagerEnd(t *testing.T) {
	r := newReceiver(t)
	for name, tt := range map[string]struct {
		ends time.Time
		want string
	}{
		"firing":   {time.Time{}, "2026-03-29T12:34:00Z"},
		"resolved": {noon.Add(20 * time.Minute), "2026-03-29T12:20:00Z"},
	} {
		a := sample()
		a.Ends = tt.ends
		if err := Alertmanager(t.Context(), r.at(t, "/am/"), noon.Add(30*time.Minute), a); err != nil {
			t.Fatal(err)
		}
		var got []struct {
			Labels, Annotations map[string]string
			StartsAt, EndsAt    string
		}
		if err := json.Unmarshal(r.body, &got); err != nil {
			t.Fatal(err)
		}
		if r.path != "POST /am/api/v2/alerts" || r.kind != "application/json" || len(got) != 1 {
			t.Fatalf("%s: got %s %s %s", name, r.path, r.kind, r.body)
		}
		if g := got[0]; g.StartsAt != "2026-03-29T12:00:00Z" || g.EndsAt != tt.want || g.Labels["incident"] != "i1" || g.Annotations["summary"] == "" {
			t.Errorf("%s: got %s", name, r.body)
		}
	}
}

// TestWebhookFormat compares the message with one of Alertmanager.
func TestWebhookFormat(t *testing.T) {
	r := newReceiver(t)
	if err := Webhook(t.Context(), r.at(t, "/hook?key=x"), sample()); err != nil {
		t.Fatal(err)
	}
	const want = `{"version":"4","groupKey":"{}:{alertname=\"PosternAttack\"}","truncatedAlerts":0,"status":"firing","receiver":"postern",` +
		`"groupLabels":{"alertname":"PosternAttack"},"commonLabels":{"alertname":"PosternAttack","incident":"i1","severity":"page"},` +
		`"commonAnnotations":{"summary":"Strangers try passwords."},"externalURL":"","alerts":[{"status":"firing",` +
		`"labels":{"alertname":"PosternAttack","incident":"i1","severity":"page"},"annotations":{"summary":"Strangers try passwords."},` +
		`"startsAt":"2026-03-29T12:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"`
	if got := string(r.body); !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	firing := string(r.body)
	a := sample()
	a.Ends = noon.Add(time.Hour)
	if err := Webhook(t.Context(), r.at(t, "/hook"), a); err != nil {
		t.Fatal(err)
	}
	resolved := string(r.body)
	if strings.Count(resolved, `"status":"resolved"`) != 2 || !strings.Contains(resolved, `"endsAt":"2026-03-29T13:00:00Z"`) {
		t.Errorf("got %s", resolved)
	}
	if tail := firing[strings.Index(firing, "fingerprint"):]; !strings.HasSuffix(resolved, tail) {
		t.Errorf("the fingerprint %s changed in %s", tail, resolved)
	}
}

// TestErrorsContainNoSecret: errors say what failed, without the secret part of the
// address.
func TestErrorsContainNoSecret(t *testing.T) {
	r := newReceiver(t)
	for name, tt := range map[string]struct {
		code int
		want string
	}{
		"refused":    {http.StatusBadRequest, "got 400 Bad Request, want 2xx: no no"},
		"redirected": {http.StatusFound, "got 302 Found, want 2xx"},
	} {
		r.code = tt.code
		err := Webhook(t.Context(), r.at(t, "/secret?key=hidden"), sample())
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 300 || r.path != "POST /secret" {
			t.Errorf("%s: got %v", name, err)
		}
		checkNoSecret(t, err)
	}
	gone := r.at(t, "/secret?key=hidden")
	r.Close()
	err := Webhook(t.Context(), gone, sample())
	if err == nil || !strings.HasPrefix(err.Error(), "notify "+gone.Host+": ") {
		t.Errorf("connection refused: got %v", err)
	}
	checkNoSecret(t, err)
}

func checkNoSecret(t *testing.T, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "hidden")) {
		t.Errorf("the address leaks: %v", err)
	}
}
