package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/limiter"
)

const testFDs = 10_100

// sane is an environment that is complete, changed and extended by more.
func sane(more ...string) []string {
	return append([]string{
		"HOME=/root",
		"POSTERN_IMAP_BACKENDS=imap.example:1143",
		"POSTERN_POP3_BACKENDS=pop.example:1110",
		"POSTERN_TLS_CERT=/etc/postern/a.crt",
		"POSTERN_TLS_KEY=/etc/postern/a.key",
	}, more...)
}

func TestLoadDefaults(t *testing.T) {
	c, err := load(sane(), testFDs)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]any{
		"doors":           {c.Doors.IMAPS, listenAddrs{":993"}},
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

// TestLoadComplaints names each mistake and the line it must get.
func TestLoadComplaints(t *testing.T) {
	for name, tt := range map[string]struct {
		env  []string
		want string
	}{
		"a rate that is a word":              {[]string{"LIMIT_SOURCE=ten"}, `POSTERN_LIMIT_SOURCE: "ten": takes tokens/time such as 10/10m, or off`},
		"a rate without time":                {[]string{"LIMIT_GLOBAL=200"}, `POSTERN_LIMIT_GLOBAL: "200": takes tokens/time such as 10/10m, or off`},
		"a count of zero":                    {[]string{"TRIES=0"}, `POSTERN_TRIES: "0": takes a number from 1 on`},
		"a count below zero":                 {[]string{"TARPIT_TOTAL=-5"}, `POSTERN_TARPIT_TOTAL: "-5": takes a number from 1 on`},
		"a ceiling that is a word":           {[]string{"LIMIT_OPEN=many"}, `POSTERN_LIMIT_OPEN: "many": takes a number from 1 on, or off`},
		"a time without unit":                {[]string{"IDLE_TIMEOUT=35"}, `POSTERN_IDLE_TIMEOUT: "35": takes a time above zero such as 10s, 5m or 1h`},
		"a time below zero":                  {[]string{"DRAIN=-1s"}, `POSTERN_DRAIN: "-1s": takes a time above zero such as 10s, 5m or 1h`},
		"a share of more than all":           {[]string{"KNOWN_SHARE=101"}, `POSTERN_KNOWN_SHARE: "101": takes a number from 0 to 100`},
		"a share of less than none":          {[]string{"KNOWN_SHARE=-1"}, `POSTERN_KNOWN_SHARE: "-1": takes a number from 0 to 100`},
		"a repeat that is a number":          {[]string{"REPEAT_TTL=60"}, `POSTERN_REPEAT_TTL: "60": takes a time above zero such as 60s, 10m or 720h, or off`},
		"a repeat that outlasts a user":      {[]string{"REPEAT_TTL=2h"}, `POSTERN_REPEAT_TTL: 2h0m0s: takes at most 1h0m0s, or a password that has been corrected does not work`},
		"a memory of years":                  {[]string{"KNOWN_TTL=9000h"}, `POSTERN_KNOWN_TTL: 9000h0m0s: takes at most 8784h0m0s`},
		"a mode unheard of":                  {[]string{"MODE=dry"}, `POSTERN_MODE: "dry": takes enforce or observe`},
		"a truth that is not":                {[]string{"CLEARTEXT_LOGIN=perhaps"}, `POSTERN_CLEARTEXT_LOGIN: "perhaps": takes true or false`},
		"a door without port":                {[]string{"IMAPS_LISTEN=192.0.2.1"}, `POSTERN_IMAPS_LISTEN: "192.0.2.1": takes addresses such as :993 or [::1]:993, separated by commas, or off`},
		"a door with a trailing comma":       {[]string{"IMAPS_LISTEN=:993,"}, `POSTERN_IMAPS_LISTEN: ":993,": takes addresses such as :993 or [::1]:993, separated by commas, or off`},
		"a backend without host":             {[]string{"IMAP_BACKENDS=:143"}, `POSTERN_IMAP_BACKENDS: ":143": takes host:port, several separated by commas`},
		"a backend without port":             {[]string{"POP3_BACKENDS=mail"}, `POSTERN_POP3_BACKENDS: "mail": takes host:port, several separated by commas`},
		"a backend twice":                    {[]string{"IMAP_BACKENDS=a:1,b:1,a:1"}, `POSTERN_IMAP_BACKENDS: a:1 twice: takes every backend once`},
		"a network with too many bits":       {[]string{"EXEMPT=10.0.0.0/8,192.0.2.0/33"}, `POSTERN_EXEMPT: "10.0.0.0/8,192.0.2.0/33": takes networks such as 192.0.2.0/24 or 2001:db8::/32, separated by commas`},
		"a PROXY version of the future":      {[]string{"BACKEND_PROXY=v3"}, `POSTERN_BACKEND_PROXY: "v3": takes v2, v1 or off`},
		"a backend TLS that is a truth":      {[]string{"BACKEND_TLS=true"}, `POSTERN_BACKEND_TLS: "true": takes off, starttls or tls`},
		"a TLS version of the past":          {[]string{"TLS_MIN=1.1"}, `POSTERN_TLS_MIN: "1.1": takes 1.2 or 1.3`},
		"a log format unheard of":            {[]string{"LOG_FORMAT=xml"}, `POSTERN_LOG_FORMAT: "xml": takes json or text`},
		"a log level with an offset":         {[]string{"LOG_LEVEL=info+2"}, `POSTERN_LOG_LEVEL: "info+2": takes debug, info, warn or error`},
		"an admin socket without path":       {[]string{"ADMIN_LISTEN=unix:"}, `POSTERN_ADMIN_LISTEN: "unix:": takes host:port, unix:/path, or off`},
		"a setting with a slip":              {[]string{"LIMT_SOURCE=10/1m"}, "POSTERN_LIMT_SOURCE: is not a setting; did you mean POSTERN_LIMIT_SOURCE?"},
		"a setting far from all others":      {[]string{"COLOUR_OF_THE_DOOR=red"}, "POSTERN_COLOUR_OF_THE_DOOR: is not a setting; `postern config` lists the settings"},
		"a prefix and nothing more":          {[]string{"=1"}, "POSTERN_: is not a setting; `postern config` lists the settings"},
		"no door":                            {[]string{"IMAP_LISTEN=", "IMAPS_LISTEN=off", "POP3_LISTEN=", "POP3S_LISTEN="}, "POSTERN_IMAPS_LISTEN: off like every other door: takes at least one address, here or in another LISTEN setting"},
		"an IMAP door without backend":       {[]string{"IMAP_BACKENDS="}, "POSTERN_IMAP_BACKENDS: not set, but an IMAP door is open: takes host:port, or close them with POSTERN_IMAP_LISTEN=off and POSTERN_IMAPS_LISTEN=off"},
		"a POP3 door without backend":        {[]string{"POP3_BACKENDS="}, "POSTERN_POP3_BACKENDS: not set, but a POP3 door is open: takes host:port, or close them with POSTERN_POP3_LISTEN=off and POSTERN_POP3S_LISTEN=off"},
		"a POP3 backend twice":               {[]string{"POP3_BACKENDS=a:1,a:1"}, `POSTERN_POP3_BACKENDS: a:1 twice: takes every backend once, and no port speaks both protocols`},
		"a backend for both protocols":       {[]string{"IMAP_BACKENDS=a:1", "POP3_BACKENDS=b:1,a:1"}, `POSTERN_POP3_BACKENDS: a:1 twice: takes every backend once, and no port speaks both protocols`},
		"no certificate for a TLS door":      {[]string{"TLS_CERT=", "TLS_KEY=", "CLEARTEXT_LOGIN=true"}, "POSTERN_TLS_CERT: not set, but POSTERN_IMAPS_LISTEN needs it: takes the path of a certificate chain"},
		"no certificate for POP3S":           {[]string{"TLS_CERT=", "TLS_KEY=", "IMAPS_LISTEN="}, "POSTERN_TLS_CERT: not set, but POSTERN_POP3S_LISTEN needs it: takes the path of a certificate chain"},
		"no certificate for STARTTLS":        {[]string{"TLS_CERT=", "TLS_KEY=", "IMAPS_LISTEN=", "POP3S_LISTEN="}, "POSTERN_TLS_CERT: not set, but POSTERN_IMAP_LISTEN needs it: takes the path of a certificate chain"},
		"no certificate for STLS":            {[]string{"TLS_CERT=", "TLS_KEY=", "IMAPS_LISTEN=", "POP3S_LISTEN=", "IMAP_LISTEN="}, "POSTERN_TLS_CERT: not set, but POSTERN_POP3_LISTEN needs it: takes the path of a certificate chain"},
		"a key without certificate":          {[]string{"TLS_CERT="}, "POSTERN_TLS_KEY: set without POSTERN_TLS_CERT: takes one key for each certificate"},
		"ticket keys without certificate":    {[]string{"TLS_CERT=", "TLS_KEY=", "TLS_TICKET_KEYS=/t"}, "POSTERN_TLS_TICKET_KEYS: set without POSTERN_TLS_CERT: takes a file only where TLS is offered"},
		"more certificates than keys":        {[]string{"TLS_CERT=a,b"}, "POSTERN_TLS_KEY: 1 for 2 certificates in POSTERN_TLS_CERT: takes one key for each, in the same order"},
		"authorities for no backend TLS":     {[]string{"BACKEND_TLS_CA=/ca"}, "POSTERN_BACKEND_TLS_CA: set while POSTERN_BACKEND_TLS is off: takes a file only with starttls or tls"},
		"a name for no backend TLS":          {[]string{"BACKEND_TLS_NAME=mail"}, "POSTERN_BACKEND_TLS_NAME: set while POSTERN_BACKEND_TLS is off: takes a name only with starttls or tls"},
		"a tarpit longer than clients wait":  {[]string{"TARPIT_MAX=16s"}, "POSTERN_TARPIT_MAX: 16s: takes at most 15s, because mail programs give up soon after"},
		"a tarpit longer than the stay":      {[]string{"LOGIN_TIMEOUT=10s"}, "POSTERN_TARPIT_MAX: 10s: takes less than POSTERN_LOGIN_TIMEOUT, which is 10s"},
		"a handshake longer than the stay":   {[]string{"HANDSHAKE_TIMEOUT=2m"}, "POSTERN_HANDSHAKE_TIMEOUT: 2m0s: takes at most POSTERN_LOGIN_TIMEOUT, which is 1m0s"},
		"metrics at the admin address":       {[]string{"METRICS_LISTEN=127.0.0.1:9143"}, "POSTERN_METRICS_LISTEN: 127.0.0.1:9143: takes an address of its own; POSTERN_ADMIN_LISTEN serves /metrics already"},
		"more connections than descriptors":  {[]string{"MAX_CONNECTIONS=10001"}, "POSTERN_MAX_CONNECTIONS: 10001: takes at most 10000 with a limit of 10100 file descriptors"},
		"an environment file that is absent": {[]string{"ENV_FILE=/no/such/file"}, "POSTERN_ENV_FILE: read settings: open /no/such/file: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			env := sane()
			for _, v := range tt.env {
				env = append(env, prefix+v)
			}
			_, err := load(env, testFDs)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
				t.Error("the complaint is more than one line")
			}
		})
	}
}

func TestLoadFewDescriptors(t *testing.T) {
	if c, err := load(sane(), 102); err != nil || c.Limits.MaxConnections != 2 || c.descriptors != 2 {
		t.Errorf("with room for one: got %d, %v", c.Limits.MaxConnections, err)
	}
	if _, err := load(sane(), 101); err == nil || !strings.HasPrefix(err.Error(), "POSTERN_MAX_CONNECTIONS: the limit of 101") {
		t.Errorf("without room: got %v", err)
	}
	if c, err := load(sane(), 1<<63); err != nil || c.Limits.MaxConnections != connectionsCap {
		t.Errorf("without limit: got %d, %v", c.Limits.MaxConnections, err)
	}
}

func TestLoadAccepts(t *testing.T) {
	for name, tt := range map[string]struct {
		env []string
		ok  func(c Config) bool
	}{
		"spaces around list items":   {[]string{"IMAPS_LISTEN= :993 , [::1]:1993 "}, func(c Config) bool { return slices.Equal(c.Doors.IMAPS, listenAddrs{":993", "[::1]:1993"}) }},
		"a single address as a net":  {[]string{"EXEMPT=192.0.2.7, 2001:db8::1"}, func(c Config) bool { return c.Limits.Exempt[0].Bits() == 32 && c.Limits.Exempt[1].Bits() == 128 }},
		"a net with host bits":       {[]string{"EXEMPT=192.0.2.7/24"}, func(c Config) bool { return c.Limits.Exempt[0].String() == "192.0.2.0/24" }},
		"a mapped net":               {[]string{"PROXY_FROM=::ffff:192.0.2.0/120"}, func(c Config) bool { return c.Doors.ProxyFrom[0].String() == "192.0.2.0/24" }},
		"one net in both lists":      {[]string{"PROXY_FROM=10.0.0.0/8", "EXEMPT=10.0.0.0/8"}, func(c Config) bool { return len(c.Limits.Exempt) == 1 }},
		"limits that are off":        {[]string{"LIMIT_CONNECT=off", "LIMIT_OPEN=off"}, func(c Config) bool { return c.Limits.Connect == limiter.Rate{} && c.Limits.Open == 0 }},
		"no share and no memory":     {[]string{"KNOWN_SHARE=0", "REPEAT_TTL=off", "KNOWN_TTL=off"}, func(c Config) bool { return c.Limits.KnownShare == 0 && c.Limits.Repeat == 0 && c.Limits.Known == 0 }},
		"nothing means the default":  {[]string{"TRIES=", "LOG_LEVEL="}, func(c Config) bool { return c.Limits.Tries == 3 }},
		"nothing closes a door":      {[]string{"POP3_LISTEN=", "POP3S_LISTEN=", "POP3_BACKENDS="}, func(c Config) bool { return c.Doors.POP3 == nil && c.Doors.POP3S == nil }},
		"cleartext needs no key":     {[]string{"TLS_CERT=", "TLS_KEY=", "IMAPS_LISTEN=", "POP3S_LISTEN=", "CLEARTEXT_LOGIN=true"}, func(c Config) bool { return len(c.TLS.Certs) == 0 }},
		"an admin socket":            {[]string{"ADMIN_LISTEN=unix:/run/a.sock"}, func(c Config) bool { return c.Admin.Listen == "unix:/run/a.sock" }},
		"no admin address":           {[]string{"ADMIN_LISTEN="}, func(c Config) bool { return c.Admin.Listen == "" }},
		"a level in capitals":        {[]string{"LOG_LEVEL=WARN"}, func(c Config) bool { return c.Log.Level == logLevel(slog.LevelWarn) }},
		"names for TLS of backends":  {[]string{"BACKEND_TLS=starttls", "BACKEND_TLS_NAME=mail.example"}, func(c Config) bool { return c.Backend.Name == "mail.example" }},
		"connections set by hand":    {[]string{"MAX_CONNECTIONS=7"}, func(c Config) bool { return c.Limits.MaxConnections == 7 }},
		"the last of two wins":       {[]string{"TRIES=4", "TRIES=5"}, func(c Config) bool { return c.Limits.Tries == 5 }},
		"the longest tarpit allowed": {[]string{"TARPIT_MAX=15s"}, func(c Config) bool { return c.Tarpit.Max == tarpitCap }},
	} {
		t.Run(name, func(t *testing.T) {
			env := sane()
			for _, v := range tt.env {
				env = append(env, prefix+v)
			}
			c, err := load(env, testFDs)
			if err != nil || !tt.ok(c) {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}

func TestLoadKeepsValuesOfABadStart(t *testing.T) {
	c, err := load(sane("POSTERN_TRIES=none"), testFDs)
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
		"nothing odd":                       {nil, ""},
		"only looking on":                   {[]string{"POSTERN_MODE=observe"}, "POSTERN_MODE: observe: nobody is refused"},
		"v1 with TLS clients":               {[]string{"POSTERN_BACKEND_PROXY=v1"}, "POSTERN_BACKEND_PROXY: "},
		"no header with TLS clients":        {[]string{"POSTERN_BACKEND_PROXY=off"}, "POSTERN_BACKEND_PROXY: "},
		"v1 with TLS on both sides":         {[]string{"POSTERN_BACKEND_PROXY=v1", "POSTERN_BACKEND_TLS=tls"}, ""},
		"the environment against the file":  {[]string{"POSTERN_ENV_FILE=" + file, "POSTERN_TRIES=3"}, "POSTERN_TRIES: the environment wins"},
		"the environment agrees with it":    {[]string{"POSTERN_ENV_FILE=" + file, "POSTERN_TRIES=2"}, ""},
		"the file alone":                    {[]string{"POSTERN_ENV_FILE=" + file}, ""},
		"v1 where nobody can come with TLS": {[]string{"POSTERN_TLS_CERT=", "POSTERN_TLS_KEY=", "POSTERN_IMAPS_LISTEN=", "POSTERN_POP3S_LISTEN=", "POSTERN_CLEARTEXT_LOGIN=true", "POSTERN_BACKEND_PROXY=v1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := load(sane(tt.env...), testFDs)
			if err != nil {
				t.Fatal(err)
			}
			got := c.warnings()
			if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.want)) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
