package engine

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for s, want := range map[string]URL{
		"valkeys://gw@engine.example":      {Addresses: []string{"engine.example:6379"}, TLS: true, User: "gw"},
		"rediss://10.0.0.1:7000/":          {Addresses: []string{"10.0.0.1:7000"}, TLS: true},
		"redis://localhost":                {Addresses: []string{"localhost:6379"}},
		"valkey://[2001:db8::1]:7000":      {Addresses: []string{"[2001:db8::1]:7000"}},
		"valkey://[2001:db8::1]":           {Addresses: []string{"[2001:db8::1]:6379"}},
		"valkey://a%40b@h":                 {Addresses: []string{"h:6379"}, User: "a@b"},
		"unix:///run/valkey/socket":        {Socket: "/run/valkey/socket"},
		"unix:/run/valkey/socket":          {Socket: "/run/valkey/socket"},
		"unix://gw@/run/valkey/socket":     {Socket: "/run/valkey/socket", User: "gw"},
		"valkeys://h?server_name=a.b":      {Addresses: []string{"h:6379"}, TLS: true, ServerName: "a.b"},
		"valkey://gw@s1,s2:7000/?master=m": {Addresses: []string{"s1:26379", "s2:7000"}, User: "gw", Master: "m"},
		"valkey://s1?master=m":             {Addresses: []string{"s1:26379"}, Master: "m"},
	} {
		got, err := ParseURL(s)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", s, got, err, want)
		}
		if strings.Contains(got.String(), "gw@") {
			t.Errorf("%s: %s has the user", s, got)
		}
	}
}

func TestParseURLErrors(t *testing.T) {
	for s, want := range map[string]string{
		"":                                  "unknown scheme",
		"engine.example:6379":               "unknown scheme",
		"http://h":                          "unknown scheme",
		"valkey:h":                          "want only a host",
		"valkey://h/3":                      "database number",
		"valkey://":                         "wrong address",
		"valkey://h:0":                      "wrong address",
		"valkey://h:99999":                  "wrong address",
		"valkey://h h":                      "wrong address",
		"valkey://a,b":                      "got 2 hosts",
		"valkey://a,,b?master=m":            "wrong address",
		"valkey://h?master=":                "without a value or twice",
		"valkey://h?master=a&master=b":      "without a value or twice",
		"valkey://h?db=3":                   "unknown parameter",
		"valkey://h?server_name=a":          "without TLS",
		"unix://host/path":                  "no absolute path",
		"unix:socket":                       "no absolute path",
		"unix:///s?master=m":                "parameters of a Unix socket",
		"valkey://gw:hunter2@h":             "want the password in a file",
		"valkey://:hunter2@h":               "want the password in a file",
		"unix://gw:hunter2@/s":              "want the password in a file",
		"valkey://h?password=hunter2":       "want the password in a file",
		"valkey://gw:hunter2@h:0/x?y=z":     "want",
		"valkey://gw:hunter2%zz@h:99":       "want the password in a file",
		"valkey://gw:hun/hunter2@h:99":      "want",
		"valkey://gw:hun,hunter2@h,i":       "want",
		"valkey://gw:hunter2?x@h:99":        "want",
		"valkey://gw:hunter2#x@h:99":        "want the password in a file",
		"redis//gw:hunter2@h":               "unknown scheme",
		"valkey://gw:hunter2":               "want",
		"valkey://gw:hunter2/@h":            "want",
		"valkey://h?hunter2":                "want",
		"valkey://h?server_name=h&%zz":      "cannot be parsed",
		"valkey://h?master=m;password=pass": "cannot be parsed",
	} {
		_, err := ParseURL(s)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", s, err, want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error has the password: %v", s, err)
		}
	}
}

func TestURLIsExposed(t *testing.T) {
	for s, want := range map[string]bool{
		"unix:/s": false, "valkeys://h": false, "valkey://127.0.0.1": false, "valkey://[::1]": false, "valkey://localhost": false,
		"valkey://h": true, "valkey://10.0.0.1": true, "valkey://localhost?master=m": true, "valkeys://h,i?master=m": false,
	} {
		u, err := ParseURL(s)
		if err != nil || u.IsExposed() != want {
			t.Errorf("%s: got %v, %v, want %v", s, u.IsExposed(), err, want)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"valkeys://gw@h:1,i/?master=m&server_name=n", "unix://u@/s", "redis://[::1]", "valkey://a:b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		if err != nil {
			return
		}
		if (u.Socket == "") == (len(u.Addresses) == 0) {
			t.Errorf("got %+v, want a socket or addresses", u)
		}
		u.User = ""
		if u.ServerName != "" {
			return // String leaves it out
		}
		if again, err := ParseURL(u.String()); err != nil || !reflect.DeepEqual(again, u) {
			t.Errorf("%s: got %+v, %v, want %+v", u, again, err, u)
		}
	})
}

func TestParseID(t *testing.T) {
	for s, want := range map[string]ID{"0-0": {}, "1700000000000-3": {1700000000000, 3}, "18446744073709551615-1": {1<<64 - 1, 1}} {
		if id, err := parseID(s); err != nil || id != want || id.String() != s {
			t.Errorf("%s: got %v, %v", s, id, err)
		}
	}
	for _, s := range []string{"", "1", "1-", "-1", "1-x", "1-2-3", "99999999999999999999-1"} {
		if id, err := parseID(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, id)
		}
	}
	if (ID{1, 2}).Compare(ID{1, 3}) >= 0 || (ID{2, 0}).Compare(ID{1, 3}) <= 0 || (ID{1, 1}).Compare(ID{1, 1}) != 0 {
		t.Error("IDs are in the wrong order")
	}
}
