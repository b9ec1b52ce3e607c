package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// A NoticeKind says what a Notice is about.
type NoticeKind string

// The kinds of notices.
const (
	AttackingNetwork NoticeKind = "attacking_network" // accepted from a network where many accounts are denied
	NewCountry       NoticeKind = "new_country"       // accepted from a country that is new for the account
	NewOperator      NoticeKind = "new_operator"      // accepted from an autonomous system that is new for the account
	OldPassword      NoticeKind = "old_password"      // denied again and again, with a password that was accepted before
)

// NoticeKinds returns every kind.
func NoticeKinds() []NoticeKind {
	return []NoticeKind{AttackingNetwork, NewCountry, NewOperator, OldPassword}
}

// A Notice is one fact about the logins of an account that its user or a help desk may
// want to know. It has no secret.
type Notice struct {
	ID       string       `json:"id"` // the same if the notice is delivered again
	Time     time.Time    `json:"time"`
	Kind     NoticeKind   `json:"kind"`
	Account  string       `json:"account"`  // as the client sent it, at most 256 octets
	Protocol string       `json:"protocol"` // such as imap
	Source   netip.Addr   `json:"source"`   // of the client
	Network  netip.Prefix `json:"network"`  // around Source
	// UsualPlace says that the account was accepted from the same device, source or network
	// within KNOWN_TTL.
	UsualPlace bool `json:"usual_place"`

	Country       string    `json:"country,omitempty"`  // of Source, two letters (ISO 3166-1); empty if unknown
	Operator      *Operator `json:"operator,omitempty"` // that announces Source; nil if unknown
	PastCountries []string  `json:"past_countries,omitempty"`

	// Of an attacking network, in the last hour.
	DeniedLogins   int `json:"denied_logins,omitempty"`
	DeniedAccounts int `json:"denied_accounts,omitempty"` // an estimate, at most 64

	// Of an old password, from this network.
	First time.Time `json:"first,omitzero"`
	Tries int       `json:"tries,omitempty"`
}

// An Operator is an autonomous system.
type Operator struct {
	Number uint32 `json:"number"`
	Name   string `json:"name,omitempty"`
}

// noticesVersion is the version of the format of a NoticeBatch. It changes when a
// receiver must change; fields may be added without that.
const noticesVersion = 1

// A NoticeBatch is several notices in one request.
type NoticeBatch struct {
	ID      string // the same if the batch is delivered again
	Gateway string
	Dropped int // notices that were lost before this batch, since the last one that was delivered
	Notices []Notice
}

// noticesMessage is a NoticeBatch as it is sent.
type noticesMessage struct {
	Version int      `json:"version"`
	Gateway string   `json:"gateway"`
	Dropped int      `json:"dropped"`
	Notices []Notice `json:"notices"`
}

// Notices sends b to the webhook at hook at time t. Unless secret is empty, the request is
// signed with it as the Standard Webhooks specification says.
func Notices(ctx context.Context, hook *url.URL, t time.Time, secret []byte, b NoticeBatch) error {
	text, err := json.Marshal(noticesMessage{noticesVersion, b.Gateway, b.Dropped, b.Notices})
	if err != nil {
		return fmt.Errorf("notify %s: %w", hook.Host, err)
	}
	header := http.Header{}
	stamp := strconv.FormatInt(t.Unix(), 10)
	header.Set("Webhook-Id", b.ID)
	header.Set("Webhook-Timestamp", stamp)
	if len(secret) > 0 {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.%s", b.ID, stamp, text)
		header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return postText(ctx, hook, header, text)
}
