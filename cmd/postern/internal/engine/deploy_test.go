package engine

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// deployed starts an engine with the files of deploy/valkey, and with a user admin for Do. password is that of postern.
func deployed(t *testing.T, program, password string, ca *authority) *testbed.Engine {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("../../../../deploy/valkey", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	users := strings.Replace(read("postern-users.acl"), "PASSWORD_SHA256", fmt.Sprintf("%x", sha256.Sum256([]byte(password))), 1)
	users += "user admin on >admin ~* &* +@all\n"
	if err := os.WriteFile(ca.path("postern-users.acl"), []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	options := []string{"tls-cert-file " + ca.path("engine.crt")}
	for line := range strings.Lines(strings.ReplaceAll(strings.ReplaceAll(read("valkey-postern.conf"), "/etc/valkey/postern-", ca.dir+"/"), ca.dir+"/users", ca.dir+"/postern-users")) {
		name, _, _ := strings.Cut(line, " ")
		if name != "port" && name != "tls-port" && name != "unixsocket" {
			options = append(options, strings.TrimSpace(line))
		}
	}
	e := testbed.StartEngine(t, program, options...)
	e.Login = "AUTH admin admin"
	return e
}

// TestDeployedConfiguration lets a gateway do what it needs, and nothing else.
func TestDeployedConfiguration(t *testing.T) {
	ca := newAuthority(t)
	ca.server(t)
	ca.client(t)
	testbed.EachEngine(t, func(t *testing.T, program string) {
		e := deployed(t, program, "secret", ca)
		config := Config{
			URL: "valkeys://postern@" + e.Addr() + "/?server_name=engine.example", CA: ca.path("ca.crt"), Cert: ca.path("gateway.crt"), Key: ca.path("gateway.key"),
			PasswordFile: testbed.WriteFile(t, "secret"), Name: "gw-1",
		}
		c := open(t, config)
		checkCalls(t, c, "postern:{0123abcd}:", "")
		checkCalls(t, c, "other:", Denied)
		if list := e.Do("CLIENT", "LIST"); strings.Count(list, "name=gw-1 ") != 2 || strings.Count(list, "user=postern ") != 2 {
			t.Errorf("got these connections, want two of the user postern with the name gw-1:\n%s", list)
		}
		config.PasswordFile = testbed.WriteFile(t, "wrong")
		checkCalls(t, open(t, config), "postern:", Denied)
		checkForbidden(t, e)
		for name, want := range map[string]string{"maxmemory-policy": "noeviction", "save": "", "appendonly": "no", "tls-auth-clients": "yes"} {
			if got := e.Do("CONFIG", "GET", name); got != name+"\n"+want {
				t.Errorf("got %q, want %s %q", got, name, want)
			}
		}
	})
}

// checkCalls calls every method on keys with this prefix. Each must fail for the reason want, or succeed if that is empty.
func checkCalls(t *testing.T, c *Client, prefix string, want Reason) {
	t.Helper()
	ctx, stream, key := t.Context(), prefix+"stream", prefix+"key"
	check := func(name string, err error) {
		t.Helper()
		if (err != nil) != (want != "") || err != nil && ReasonOf(err) != want {
			t.Errorf("%s of %s: got %v, want the reason %q", name, prefix, err, want)
		}
	}
	_, err := c.Add(ctx, stream, []byte("data"), 10)
	check("Add", err)
	_, err = c.Read(ctx, []Position{{Key: stream}}, 0)
	check("Read", err)
	check("Trim", c.Trim(ctx, stream, 1))
	_, err = c.SetNX(ctx, key, []byte("1"), time.Minute)
	check("SetNX", err)
	_, err = c.SetXX(ctx, key, []byte("1"), time.Minute)
	check("SetXX", err)
	check("Set", c.Set(ctx, key, []byte("1"), time.Minute))
	_, err = c.Get(ctx, key)
	check("Get", err)
	check("Del", c.Del(ctx, key))
	if strings.HasPrefix(prefix, "postern:") {
		_, err = c.Time(ctx)
		check("Time", err)
	}
}

// checkForbidden sends commands that the user postern must not use.
func checkForbidden(t *testing.T, e *testbed.Engine) {
	t.Helper()
	e.Login = "AUTH postern secret"
	for _, line := range []string{
		"FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "CONFIG GET maxmemory", "CONFIG SET maxmemory 1", "SHUTDOWN", "ACL LIST", "ACL WHOAMI", "CLIENT LIST",
		"CLIENT KILL TYPE normal", "EVAL return(1) 0", "FUNCTION LIST", "MONITOR", "SUBSCRIBE a", "PUBLISH a b", "INFO", "SAVE", "BGSAVE", "REPLICAOF 127.0.0.1 1", "MODULE LIST",
		"RENAME postern:a postern:b", "GETDEL postern:a", "EXPIRE postern:a 1", "DUMP postern:a", "XGROUP CREATE postern:s g 0", "XRANGE postern:s - +", "XDEL postern:s 1-1", "LPUSH postern:l a", "INCR postern:k",
		"SELECT 1", "SWAPDB 0 1", "PING", "GET other", "SET other 1", "XADD other * a b", "XREAD STREAMS other 0", "DEL other",
	} {
		if reply, err := e.Try(strings.Fields(line)...); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%s: got %q, %v, want NOPERM", line, reply, err)
		}
	}
	e.Login = ""
	if reply, err := e.Try("TIME"); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("without a password: got %q, %v, want NOAUTH", reply, err)
	}
	e.Login = "AUTH admin admin"
}
