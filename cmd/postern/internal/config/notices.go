package config

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"

	"postern/cmd/postern/internal/notify"
)

// checkNotices refuses settings about login notices that would have no effect.
func (c *Config) checkNotices() error {
	n := c.Notices
	has := func(kind notify.NoticeKind) bool { return slices.Contains(n.Kinds, string(kind)) }
	switch {
	case n.URL == "" && n.SecretFile != "":
		return Errorf("NOTICE_SECRET_FILE", "got a file without %sNOTICE_URL, want it only with that", Prefix)
	case n.URL == "" && len(n.Kinds) > 0:
		return Errorf("NOTICE_KINDS", "got kinds without %sNOTICE_URL, want them only with that", Prefix)
	case n.URL == "" && n.CountryFile != "":
		return Errorf("COUNTRY_FILE", "got a file without %sNOTICE_URL, want it only with that", Prefix)
	case has(notify.NewCountry) && n.CountryFile == "":
		return Errorf("COUNTRY_FILE", "got nothing, want an MMDB file with countries: %sNOTICE_KINDS has %s", Prefix, notify.NewCountry)
	case has(notify.NewOperator) && c.Incidents.ASNFile == "":
		return Errorf("ASN_FILE", "got nothing, want an MMDB file with autonomous systems: %sNOTICE_KINDS has %s", Prefix, notify.NewOperator)
	}
	return nil
}

// NoticeKinds are the kinds of NOTICE_KINDS.
func (n Notices) NoticeKinds() (kinds []notify.NoticeKind) {
	for _, k := range notify.NoticeKinds() {
		if len(n.Kinds) == 0 || slices.Contains(n.Kinds, string(k)) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// noticeKindNames lists the kinds for people.
func noticeKindNames() string {
	var names []string
	for _, k := range notify.NoticeKinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// parseNoticeKinds parses a list of kinds.
func parseNoticeKinds(s string) (any, error) {
	return splitAs[noticeKinds](s, func(part string) error {
		if !slices.Contains(notify.NoticeKinds(), notify.NoticeKind(part)) {
			return errForm
		}
		return nil
	})
}

// Bounds of the secret that signs login notices, in octets, as the specification has them.
const secretMin, secretLimit = 24, 64

// Secret reads the secret in NOTICE_SECRET_FILE, nil if there is none. A secret that begins
// with whsec_ is base64 after that. The error never has the secret.
func (n Notices) Secret() ([]byte, error) {
	path := string(n.SecretFile)
	if path == "" {
		return nil, nil
	}
	text, err := readSecret("NOTICE_SECRET_FILE", path)
	if err != nil {
		return nil, err
	}
	secret := bytes.TrimSpace(text)
	if encoded, ok := bytes.CutPrefix(secret, []byte("whsec_")); ok {
		if secret, err = base64.StdEncoding.DecodeString(string(encoded)); err != nil {
			return nil, Errorf("NOTICE_SECRET_FILE", "got text in %s that is not base64 after whsec_", path)
		}
	}
	if len(secret) < secretMin || len(secret) > secretLimit {
		return nil, Errorf("NOTICE_SECRET_FILE", "got %d octets in %s, want %d to %d; `openssl rand -base64 24` makes such a secret", len(secret), path, secretMin, secretLimit)
	}
	return secret, nil
}
