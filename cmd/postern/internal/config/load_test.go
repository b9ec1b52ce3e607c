package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
)

// testFDs is a limit of file descriptors.
const testFDs = 10_100

func TestLoadDefaults(t *testing.T) {
	c, err := load(testbed.Environ(), testFDs)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]any{
		"listen":          {c.Listeners.IMAPS, listenAddrs{":993"}},
		"backends":        {c.Backend.POP3, hostPorts{"pop.example:1110"}},
		"rate":            {c.Limits.Source, limiter.Rate{Tokens: 10, Per: 10 * time.Minute}},
		"open":            {c.Limits.OpenPrelogin, ceiling(30)},
		"max connections": {c.Limits.MaxConnections, 10000},
		"tarpit":          {c.Tarpit.Max, 10 * time.Second},
		"admin":           {c.Admin.Listen, httpAddr("127.0.0.1:9143")},
		"metrics":         {c.Admin.Metrics, httpAddr("")},
		"log":             {c.Log.Format, logFormat("json")},
		"idle":            {c.Timeouts.Idle, 35 * time.Minute},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: got %v, want %v", name, pair[0], pair[1])
		}
	}
}

// TestLoadErrors lists each mistake with its error.
func TestLoadErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		env  []string
		want string
	}{
		"rate that is a word":                 {[]string{"LIMIT_SOURCE=ten"}, `POSTERN_LIMIT_SOURCE: got "ten", want tokens/time such as 10/10m, or off`},
		"rate without time":                   {[]string{"LIMIT_GLOBAL=200"}, `POSTERN_LIMIT_GLOBAL: got "200", want tokens/time such as 10/10m, or off`},
		"count of zero":                       {[]string{"TRIES=0"}, `POSTERN_TRIES: got "0", want a number of at least 1`},
		"count below zero":                    {[]string{"TARPIT_TOTAL=-5"}, `POSTERN_TARPIT_TOTAL: got "-5", want a number of at least 1`},
		"ceiling that is a word":              {[]string{"LIMIT_OPEN=many"}, `POSTERN_LIMIT_OPEN: got "many", want a number of at least 1, or off`},
		"duration without unit":               {[]string{"IDLE_TIMEOUT=35"}, `POSTERN_IDLE_TIMEOUT: got "35", want a duration above zero such as 10s, 5m or 1h`},
		"duration below zero":                 {[]string{"DRAIN=-1s"}, `POSTERN_DRAIN: got "-1s", want a duration above zero such as 10s, 5m or 1h`},
		"share above 100":                     {[]string{"KNOWN_SHARE=101"}, `POSTERN_KNOWN_SHARE: got "101", want a number from 0 to 100`},
		"share below 0":                       {[]string{"KNOWN_SHARE=-1"}, `POSTERN_KNOWN_SHARE: got "-1", want a number from 0 to 100`},
		"REPEAT_TTL without unit":             {[]string{"REPEAT_TTL=60"}, `POSTERN_REPEAT_TTL: got "60", want a duration above zero such as 60s, 10m or 720h, or off`},
		"REPEAT_TTL too long":                 {[]string{"REPEAT_TTL=2h"}, `POSTERN_REPEAT_TTL: got 2h0m0s, want at most 1h0m0s: a corrected password does not work before`},
		"KNOWN_TTL too long":                  {[]string{"KNOWN_TTL=9000h"}, `POSTERN_KNOWN_TTL: got 9000h0m0s, want at most 8784h0m0s`},
		"unknown mode":                        {[]string{"MODE=dry"}, `POSTERN_MODE: got "dry", want enforce or observe`},
		"no boolean":                          {[]string{"CLEARTEXT_LOGIN=perhaps"}, `POSTERN_CLEARTEXT_LOGIN: got "perhaps", want true or false`},
		"listener without port":               {[]string{"IMAPS_LISTEN=192.0.2.1"}, `POSTERN_IMAPS_LISTEN: got "192.0.2.1", want addresses such as :993 or [::1]:993, separated by commas, or off`},
		"listener with a trailing comma":      {[]string{"IMAPS_LISTEN=:993,"}, `POSTERN_IMAPS_LISTEN: got ":993,", want addresses such as :993 or [::1]:993, separated by commas, or off`},
		"backend without host":                {[]string{"IMAP_BACKENDS=:143"}, `POSTERN_IMAP_BACKENDS: got ":143", want host:port, several separated by commas`},
		"backend without port":                {[]string{"POP3_BACKENDS=mail"}, `POSTERN_POP3_BACKENDS: got "mail", want host:port, several separated by commas`},
		"IMAP backend twice":                  {[]string{"IMAP_BACKENDS=a:1,b:1,a:1"}, `POSTERN_IMAP_BACKENDS: got a:1 twice, want every backend once`},
		"network with too many bits":          {[]string{"EXEMPT=10.0.0.0/8,192.0.2.0/33"}, `POSTERN_EXEMPT: got "10.0.0.0/8,192.0.2.0/33", want networks such as 192.0.2.0/24 or 2001:db8::/32, separated by commas`},
		"unknown PROXY version":               {[]string{"BACKEND_PROXY=v3"}, `POSTERN_BACKEND_PROXY: got "v3", want v2, v1 or off`},
		"boolean for BACKEND_TLS":             {[]string{"BACKEND_TLS=true"}, `POSTERN_BACKEND_TLS: got "true", want off, starttls or tls`},
		"old TLS version":                     {[]string{"TLS_MIN=1.1"}, `POSTERN_TLS_MIN: got "1.1", want 1.2 or 1.3`},
		"unknown log format":                  {[]string{"LOG_FORMAT=xml"}, `POSTERN_LOG_FORMAT: got "xml", want json or text`},
		"log level with an offset":            {[]string{"LOG_LEVEL=info+2"}, `POSTERN_LOG_LEVEL: got "info+2", want debug, info, warn or error`},
		"admin socket without path":           {[]string{"ADMIN_LISTEN=unix:"}, `POSTERN_ADMIN_LISTEN: got "unix:", want host:port, unix:/path, or off`},
		"typing error in a name":              {[]string{"LIMT_SOURCE=10/1m"}, "POSTERN_LIMT_SOURCE: unknown setting; did you mean POSTERN_LIMIT_SOURCE?"},
		"unknown name":                        {[]string{"COLOUR_OF_THE_SKY=red"}, "POSTERN_COLOUR_OF_THE_SKY: unknown setting; `postern config` lists the settings"},
		"prefix without a name":               {[]string{"=1"}, "POSTERN_: unknown setting; `postern config` lists the settings"},
		"no listener":                         {[]string{"IMAP_LISTEN=", "IMAPS_LISTEN=off", "POP3_LISTEN=", "POP3S_LISTEN="}, "POSTERN_IMAPS_LISTEN: got off like all other listeners, want at least one address, here or in another LISTEN setting"},
		"IMAP listener without backend":       {[]string{"IMAP_BACKENDS="}, "POSTERN_IMAP_BACKENDS: got nothing, want host:port for the IMAP listeners, or POSTERN_IMAP_LISTEN=off and POSTERN_IMAPS_LISTEN=off"},
		"POP3 listener without backend":       {[]string{"POP3_BACKENDS="}, "POSTERN_POP3_BACKENDS: got nothing, want host:port for the POP3 listeners, or POSTERN_POP3_LISTEN=off and POSTERN_POP3S_LISTEN=off"},
		"no ManageSieve backends":             {[]string{"SIEVE_LISTEN=:4190"}, `POSTERN_SIEVE_BACKENDS: got nothing, want host:port for the ManageSieve listeners, or POSTERN_SIEVE_LISTEN=off`},
		"backend for IMAP and ManageSieve":    {[]string{"IMAP_BACKENDS=a:1", "SIEVE_BACKENDS=a:1"}, `POSTERN_SIEVE_BACKENDS: got a:1 twice, want every backend once, and another port for each protocol`},
		"POP3 backend twice":                  {[]string{"POP3_BACKENDS=a:1,a:1"}, `POSTERN_POP3_BACKENDS: got a:1 twice, want every backend once, and another port for each protocol`},
		"backend for both protocols":          {[]string{"IMAP_BACKENDS=a:1", "POP3_BACKENDS=b:1,a:1"}, `POSTERN_POP3_BACKENDS: got a:1 twice, want every backend once, and another port for each protocol`},
		"no certificate for IMAPS":            {[]string{"TLS_CERT=", "TLS_KEY=", "CLEARTEXT_LOGIN=true"}, "POSTERN_TLS_CERT: got nothing, want the path of a certificate chain for POSTERN_IMAPS_LISTEN"},
		"no certificate for POP3S":            {[]string{"TLS_CERT=", "TLS_KEY=", "IMAPS_LISTEN="}, "POSTERN_TLS_CERT: got nothing, want the path of a certificate chain for POSTERN_POP3S_LISTEN"},
		"no certificate for STARTTLS":         {[]string{"TLS_CERT=", "TLS_KEY=", "IMAPS_LISTEN=", "POP3S_LISTEN="}, "POSTERN_TLS_CERT: got nothing, want the path of a certificate chain for POSTERN_IMAP_LISTEN"},
		"no certificate for STLS":             {[]string{"TLS_CERT=", "TLS_KEY=", "IMAPS_LISTEN=", "POP3S_LISTEN=", "IMAP_LISTEN="}, "POSTERN_TLS_CERT: got nothing, want the path of a certificate chain for POSTERN_POP3_LISTEN"},
		"key without certificate":             {[]string{"TLS_CERT="}, "POSTERN_TLS_KEY: got a key without POSTERN_TLS_CERT, want one key for each certificate"},
		"ticket keys without certificate":     {[]string{"TLS_CERT=", "TLS_KEY=", "TLS_TICKET_KEYS=/t"}, "POSTERN_TLS_TICKET_KEYS: got a file without POSTERN_TLS_CERT, want it only where TLS is offered"},
		"more certificates than keys":         {[]string{"TLS_CERT=a,b"}, "POSTERN_TLS_KEY: got 1 for 2 certificates in POSTERN_TLS_CERT, want one key for each, in the same order"},
		"CA without backend TLS":              {[]string{"BACKEND_TLS_CA=/ca"}, "POSTERN_BACKEND_TLS_CA: got a file while POSTERN_BACKEND_TLS is off, want it only with starttls or tls"},
		"name without backend TLS":            {[]string{"BACKEND_TLS_NAME=mail"}, "POSTERN_BACKEND_TLS_NAME: got a name while POSTERN_BACKEND_TLS is off, want it only with starttls or tls"},
		"tarpit longer than clients wait":     {[]string{"TARPIT_MAX=16s"}, "POSTERN_TARPIT_MAX: got 16s, want at most 15s: mail programs give up soon after"},
		"tarpit longer than LOGIN_TIMEOUT":    {[]string{"LOGIN_TIMEOUT=10s"}, "POSTERN_TARPIT_MAX: got 10s, want less than POSTERN_LOGIN_TIMEOUT, which is 10s"},
		"handshake longer than LOGIN_TIMEOUT": {[]string{"HANDSHAKE_TIMEOUT=2m"}, "POSTERN_HANDSHAKE_TIMEOUT: got 2m0s, want at most POSTERN_LOGIN_TIMEOUT, which is 1m0s"},
		"metrics at the admin address":        {[]string{"METRICS_LISTEN=127.0.0.1:9143"}, "POSTERN_METRICS_LISTEN: got 127.0.0.1:9143, want an address of its own: POSTERN_ADMIN_LISTEN serves /metrics already"},
		"more connections than descriptors":   {[]string{"MAX_CONNECTIONS=10001"}, "POSTERN_MAX_CONNECTIONS: got 10001, want at most 10000 with a limit of 10100 file descriptors"},
		"dotenv file that is absent":          {[]string{"ENV_FILE=/no/such/file"}, "POSTERN_ENV_FILE: read settings: open /no/such/file: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			env := testbed.Environ()
			for _, v := range tt.env {
				env = append(env, Prefix+v)
			}
			_, err := load(env, testFDs)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
				t.Error("the error is more than one line")
			}
		})
	}
}

func TestLoadFewDescriptors(t *testing.T) {
	if c, err := load(testbed.Environ(), 102); err != nil || c.Limits.MaxConnections != 2 || c.MaxDescriptors != 2 {
		t.Errorf("enough for one: got %d, %v", c.Limits.MaxConnections, err)
	}
	if _, err := load(testbed.Environ(), 101); err == nil || !strings.HasPrefix(err.Error(), "POSTERN_MAX_CONNECTIONS: got a limit of 101") {
		t.Errorf("too few: got %v", err)
	}
	if c, err := load(testbed.Environ(), 1<<63); err != nil || c.Limits.MaxConnections != connectionsCap {
		t.Errorf("without limit: got %d, %v", c.Limits.MaxConnections, err)
	}
}

func TestLoadAccepts(t *testing.T) {
	for name, tt := range map[string]struct {
		env []string
		ok  func(c Config) bool
	}{
		"spaces around list items":              {[]string{"IMAPS_LISTEN= :993 , [::1]:1993 "}, func(c Config) bool { return slices.Equal(c.Listeners.IMAPS, listenAddrs{":993", "[::1]:1993"}) }},
		"a single address as a net":             {[]string{"EXEMPT=192.0.2.7, 2001:db8::1"}, func(c Config) bool { return c.Limits.Exempt[0].Bits() == 32 && c.Limits.Exempt[1].Bits() == 128 }},
		"a net with host bits":                  {[]string{"EXEMPT=192.0.2.7/24"}, func(c Config) bool { return c.Limits.Exempt[0].String() == "192.0.2.0/24" }},
		"a mapped net":                          {[]string{"PROXY_FROM=::ffff:192.0.2.0/120"}, func(c Config) bool { return c.Listeners.ProxyFrom[0].String() == "192.0.2.0/24" }},
		"one net in both lists":                 {[]string{"PROXY_FROM=10.0.0.0/8", "EXEMPT=10.0.0.0/8"}, func(c Config) bool { return len(c.Limits.Exempt) == 1 }},
		"limits that are off":                   {[]string{"LIMIT_CONNECT=off", "LIMIT_OPEN=off"}, func(c Config) bool { return c.Limits.Connect == limiter.Rate{} && c.Limits.Open == 0 }},
		"share of 0, nothing remembered":        {[]string{"KNOWN_SHARE=0", "REPEAT_TTL=off", "KNOWN_TTL=off"}, func(c Config) bool { return c.Limits.KnownShare == 0 && c.Limits.Repeat == 0 && c.Limits.Known == 0 }},
		"blank means the default":               {[]string{"TRIES=", "LOG_LEVEL="}, func(c Config) bool { return c.Limits.Tries == 3 }},
		"ManageSieve backends bring a listener": {[]string{"SIEVE_BACKENDS=a:1"}, func(c Config) bool { return slices.Equal(c.Listeners.Sieve, listenAddrs{":4190"}) }},
		"ManageSieve listener off":              {[]string{"SIEVE_BACKENDS=a:1", "SIEVE_LISTEN="}, func(c Config) bool { return c.Listeners.Sieve == nil }},
		"no ManageSieve unasked":                {nil, func(c Config) bool { return c.Listeners.Sieve == nil && len(c.Listeners.Protocols()) == 2 }},
		"blank turns a listener off":            {[]string{"POP3_LISTEN=", "POP3S_LISTEN=", "POP3_BACKENDS="}, func(c Config) bool { return c.Listeners.POP3 == nil && c.Listeners.POP3S == nil }},
		"clear text needs no certificate":       {[]string{"TLS_CERT=", "TLS_KEY=", "IMAPS_LISTEN=", "POP3S_LISTEN=", "CLEARTEXT_LOGIN=true"}, func(c Config) bool { return len(c.TLS.Certs) == 0 }},
		"an admin socket":                       {[]string{"ADMIN_LISTEN=unix:/run/a.sock"}, func(c Config) bool { return c.Admin.Listen == "unix:/run/a.sock" }},
		"no admin address":                      {[]string{"ADMIN_LISTEN="}, func(c Config) bool { return c.Admin.Listen == "" }},
		"a level in capitals":                   {[]string{"LOG_LEVEL=WARN"}, func(c Config) bool { return c.Log.Level == logLevel(slog.LevelWarn) }},
		"names for TLS of backends":             {[]string{"BACKEND_TLS=starttls", "BACKEND_TLS_NAME=mail.example"}, func(c Config) bool { return c.Backend.Name == "mail.example" }},
		"connections set by hand":               {[]string{"MAX_CONNECTIONS=7"}, func(c Config) bool { return c.Limits.MaxConnections == 7 }},
		"the last of two wins":                  {[]string{"TRIES=4", "TRIES=5"}, func(c Config) bool { return c.Limits.Tries == 5 }},
		"the longest tarpit allowed":            {[]string{"TARPIT_MAX=15s"}, func(c Config) bool { return c.Tarpit.Max == tarpitCap }},
	} {
		t.Run(name, func(t *testing.T) {
			env := testbed.Environ()
			for _, v := range tt.env {
				env = append(env, Prefix+v)
			}
			c, err := load(env, testFDs)
			if err != nil || !tt.ok(c) {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}

func TestLoadKeepsValuesAfterAnError(t *testing.T) {
	c, err := load(testbed.Environ("POSTERN_TRIES=none"), testFDs)
	if err == nil || c.values["TRIES"] != "none" || c.values["LIMIT_SOURCE"] != "10/10m" {
		t.Errorf("got %v with %v", c.values, err)
	}
}

func TestWarnings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("POSTERN_TRIES=2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		env  []string
		want string // begins the only warning; empty for none
	}{
		"no warning":                   {nil, ""},
		"observe mode":                 {[]string{"POSTERN_MODE=observe"}, "POSTERN_MODE: observe: no client is refused"},
		"v1 with TLS clients":          {[]string{"POSTERN_BACKEND_PROXY=v1"}, "POSTERN_BACKEND_PROXY: "},
		"no header with TLS clients":   {[]string{"POSTERN_BACKEND_PROXY=off"}, "POSTERN_BACKEND_PROXY: "},
		"v1 with TLS on both sides":    {[]string{"POSTERN_BACKEND_PROXY=v1", "POSTERN_BACKEND_TLS=tls"}, ""},
		"environment against the file": {[]string{"POSTERN_ENV_FILE=" + file, "POSTERN_TRIES=3"}, "POSTERN_TRIES: the environment has precedence"},
		"environment agrees with it":   {[]string{"POSTERN_ENV_FILE=" + file, "POSTERN_TRIES=2"}, ""},
		"file alone":                   {[]string{"POSTERN_ENV_FILE=" + file}, ""},
		"v1 without TLS for clients":   {[]string{"POSTERN_TLS_CERT=", "POSTERN_TLS_KEY=", "POSTERN_IMAPS_LISTEN=", "POSTERN_POP3S_LISTEN=", "POSTERN_CLEARTEXT_LOGIN=true", "POSTERN_BACKEND_PROXY=v1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := load(testbed.Environ(tt.env...), testFDs)
			if err != nil {
				t.Fatal(err)
			}
			got := c.Warnings()
			if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.want)) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
