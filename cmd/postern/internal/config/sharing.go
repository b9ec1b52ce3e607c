package config

import (
	"bytes"
	"encoding/hex"
	"strings"

	"postern/cmd/postern/internal/engine"
	"postern/limiter"
	"postern/limiter/share"
)

// Engine says how this gateway connects to the engine. Its URL is empty if gateways do not share.
func (s Share) Engine() engine.Config {
	return engine.Config{
		URL: string(s.URL), CA: string(s.EngineCA), Cert: string(s.Cert), Key: string(s.Key), PasswordFile: string(s.PasswordFile), Name: string(s.Gateway),
	}
}

// checkShare requires what sharing needs, and refuses settings that would have no effect.
func (c *Config) checkShare() error {
	s := c.Share
	if s.URL == "" {
		for _, f := range []struct {
			name string
			file file
		}{{"SHARE_CA", s.EngineCA}, {"SHARE_CERT", s.Cert}, {"SHARE_KEY", s.Key}, {"SHARE_PASSWORD_FILE", s.PasswordFile}} {
			if f.file != "" {
				return Errorf(f.name, "got a file without %sSHARE_URL, want it only with that", Prefix)
			}
		}
		return nil
	}
	hasTLS := s.engineURL().TLS
	switch {
	case s.KeyFile == "":
		return Errorf("KEY_FILE", "got nothing, want the file with the key of all gateways that share by %sSHARE_URL; `postern key FILE` makes one", Prefix)
	case !hasTLS && s.EngineCA != "":
		return Errorf("SHARE_CA", "got a file while %sSHARE_URL has no TLS, want it only with valkeys or rediss", Prefix)
	case !hasTLS && s.Cert != "":
		return Errorf("SHARE_CERT", "got a file while %sSHARE_URL has no TLS, want it only with valkeys or rediss", Prefix)
	case s.Cert != "" && s.Key == "":
		return Errorf("SHARE_KEY", "got nothing, want the private key of the certificate in %sSHARE_CERT", Prefix)
	case s.Cert == "" && s.Key != "":
		return Errorf("SHARE_CERT", "got nothing, want the certificate of the key in %sSHARE_KEY", Prefix)
	}
	return nil
}

// ReadKeyFile returns the install key in the file of KEY_FILE, which other users must not be able to read. The error never
// has the key.
func ReadKeyFile(path string) (key limiter.Key, err error) {
	data, err := readSecret("KEY_FILE", path)
	if err != nil {
		return key, err
	}
	if len(data) == len(key) {
		return limiter.Key(data), nil
	}
	if n, err := hex.Decode(data, bytes.TrimSpace(data)); err != nil || n != len(key) {
		return key, Errorf("KEY_FILE", "got neither %d octets nor %d hex digits in %s, want a file that `postern key` has made", len(key), 2*len(key), path)
	}
	return limiter.Key(data[:len(key)]), nil
}

// engineURL is SHARE_URL parsed, zero if it is empty.
func (s Share) engineURL() engine.URL {
	u, _ := engine.ParseURL(string(s.URL)) // it has been parsed before
	return u
}

// parseEngineURL parses where the engine is. The error does not repeat the URL, which may have a password.
func parseEngineURL(s string) (any, error) {
	if _, err := engine.ParseURL(s); err != nil {
		return nil, detailError{err}
	}
	return engineURL(s), nil
}

// parseGatewayName parses the name of a gateway, which is in logs, labels and CLIENT LIST; empty: that of the host.
func parseGatewayName(s string) (any, error) {
	if s != "" && share.CheckGateway(s) != nil {
		return nil, errForm
	}
	return gatewayName(s), nil
}

// defaultGateway is the name of a gateway on the host with this name, which may have other characters.
func defaultGateway(name string) gatewayName {
	name = strings.Map(func(r rune) rune {
		if share.CheckGateway(string(r)) != nil {
			return '-'
		}
		return r
	}, name)
	if name == "" {
		name = "gateway"
	}
	return gatewayName(name[:min(len(name), share.GatewayMax)])
}
