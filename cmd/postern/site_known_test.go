//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/cmd/postern/internal/explain"
	"postern/cmd/postern/internal/testbed"
	"postern/proxy/standin"
)

// newcomers counts them, to give each an account of its own.
var newcomers atomic.Int32

// newcomersMax is how many there are at most.
const newcomersMax = 500

// newcomerAccount is one of the accounts of users who log in for the first time.
func newcomerAccount(i int) string { return fmt.Sprintf("new%d", i) }

// newcomerAccounts are all of them.
func newcomerAccounts() (all []standin.Account) {
	for i := range newcomersMax {
		all = append(all, standin.Account{Name: newcomerAccount(i), Secret: loginSecret})
	}
	return all
}

// newcomer logs an account in for the first time, at one gateway, and returns its name.
func (s *site) newcomer(t *testing.T, gateway int) string {
	t.Helper()
	i := int(newcomers.Add(1)) - 1
	if i >= newcomersMax {
		t.Fatalf("more than %d newcomers", newcomersMax)
	}
	if err := logInAndOut(s.dialers[gateway][1], address(22, i), newcomerAccount(i), loginSecret); err != nil {
		t.Errorf("first login of %s at gateway %d: %v", newcomerAccount(i), gateway, err)
	}
	return newcomerAccount(i)
}

// knows reports whether a gateway knows an account.
func (s *supervisor) knows(t *testing.T, account string) bool {
	t.Helper()
	answer, err := s.operator().Get("http://localhost" + explain.Path + "?" + url.Values{"about": {account}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var e explain.Explanation
	if err := json.NewDecoder(answer.Body).Decode(&e); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(e.Facts, func(f explain.Fact) bool { return strings.Contains(f.Text, "account "+account+" is known: ") })
}

// operator returns a client of the admin API.
func (s *supervisor) operator() *http.Client {
	return &http.Client{Timeout: testbed.Patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "admin"))
	}}}
}

// awaitKnown waits until a gateway knows an account.
func (s *site) awaitKnown(t *testing.T, gateway int, account string) {
	t.Helper()
	await(t, fmt.Sprintf("%s to be known at gateway %d", account, gateway), func() bool { return s.gateways[gateway].knows(t, account) })
}

// TestSiteKnowsEverywhere: who has logged in at one gateway is known at all others at once.
func TestSiteKnowsEverywhere(t *testing.T) {
	s := newSite(t, 3, newcomerAccounts())
	const each = 70
	var took []time.Duration
	for n := range 3 * each {
		from, to := n%3, (n+1+n/3%2)%3
		account := s.newcomer(t, from)
		begin := time.Now()
		for !s.gateways[to].knows(t, account) {
			if time.Since(begin) > testbed.Patience {
				t.Fatalf("%s is not known at gateway %d", account, to)
			}
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	t.Logf("%d users were known at another gateway after: median %v, 99th percentile %v, longest %v", len(took), percentile(took, 50), percentile(took, 99), percentile(took, 100))
	if longest := took[len(took)-1]; longest > time.Second {
		t.Errorf("a user was known at another gateway after %v, want at most 1 s", longest)
	}
}
