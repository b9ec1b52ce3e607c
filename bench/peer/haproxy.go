package peer

import (
	"os"
	"path/filepath"
)

// haproxy ends TLS and relays octets; it sees no login.
var haproxy = Kind{
	Name: "haproxy", About: "TCP mode: ends TLS, sees no login",
	find:      func() (string, error) { return look("haproxy", "haproxy") },
	version:   []string{"-v"},
	configure: configureHAProxy,
}

func configureHAProxy(s Setup, _ string, d doors) (args, env []string, err error) {
	pair := filepath.Join(s.Dir, "pair.pem")
	cert, err := os.ReadFile(s.Cert)
	if err != nil {
		return nil, nil, err
	}
	key, err := os.ReadFile(s.Key)
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(pair, append(cert, key...), 0o600); err != nil {
		return nil, nil, err
	}
	conf, err := write(s, d, "haproxy.cfg", map[string]any{"Pair": pair})
	return []string{"-db", "-f", conf}, os.Environ(), err
}
