package recent

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"postern/limiter"
	"postern/proxy"
)

// sample is a Memory with some of everything.
func sample() *Memory {
	m := New(start)
	for i := range 5 {
		when := at(time.Duration(i) * time.Second)
		m.Attempt(when, denied(fmt.Sprint("abcdef-", i), "192.0.2.7", "J\u00d6RG\x00"), "")
		m.Attempt(when, user(refused(fmt.Sprint("bcdefg-", i), "2001:db8::7", "kari", limiter.RulePair)), "5 of 5")
		m.Attempt(when, user(accepted("cdefgh-1", "192.0.2.9", "")), "")
		m.Record(when, proxy.Record{ID: fmt.Sprint("defghi-", i), Listener: "pop3", End: proxy.EndTimeout}, "too slow")
	}
	return m
}

func TestImportHasWhatWasExported(t *testing.T) {
	m, next := sample(), New(at(time.Minute))
	if err := next.Import(m.Export()); err != nil {
		t.Fatal(err)
	}
	if got, want := next.Search(Query{}, 100), m.Search(Query{}, 100); !reflect.DeepEqual(got, want) || len(got) != 15 {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got, want := next.Search(Query{Account: "jörg\x00"}, 100), m.Search(Query{Account: "jörg\x00"}, 100); !reflect.DeepEqual(got, want) || len(got) != 5 {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got, want := next.Series(at(time.Minute), 0), m.Series(at(time.Minute), 0); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got, want := next.Top(at(time.Minute), time.Hour, 10), m.Top(at(time.Minute), time.Hour, 10)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	users, others := next.Since()
	if !users.Equal(start) || !others.Equal(start) {
		t.Errorf("got events since %v and %v, want %v", users, others, start)
	}
	if err := next.Import(m.Export()); err == nil {
		t.Error("a Memory that has events imported others")
	}
}

// TestImportOfVersion1: a process of before there were TLS fingerprints hands over what sample has.
func TestImportOfVersion1(t *testing.T) {
	data, err := os.ReadFile("testdata/version1.export")
	if err != nil {
		t.Fatal(err)
	}
	next := New(at(time.Minute))
	if err := next.Import(data); err != nil {
		t.Fatal(err)
	}
	want := sample().Search(Query{}, 100)
	for i := range want {
		want[i].JA4 = ""
	}
	if got := next.Search(Query{}, 100); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// TestExportIsBounded: known users' events first, then the latest of others.
func TestExportIsBounded(t *testing.T) {
	m := shared()
	export := m.Export()
	if len(export) > exportMax {
		t.Errorf("got %d octets, want at most %d", len(export), exportMax)
	}
	next := New(at(time.Hour))
	if err := next.Import(export); err != nil {
		t.Fatal(err)
	}
	last := fmt.Sprint("bcdefg-", usersMax-1)
	if got, want := next.Find(last), m.Find(last); len(want) != 1 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	users, others := int(next.users.next), int(next.others.next)
	t.Logf("%d events of known users, %d of others, in %d octets", users, others, len(export))
	if users < usersMax/3 || others < othersMax/5 {
		t.Errorf("got %d events of known users and %d of others, want at least %d and %d", users, others, usersMax/3, othersMax/5)
	}
	if since, _ := next.Since(); !since.After(start) {
		t.Errorf("got known users' events since %v, want a later time than %v", since, start)
	}
}

// TestDamagedImportChangesNothing: each cut, and octets that are changed.
func TestDamagedImportChangesNothing(t *testing.T) {
	export := sample().Export()
	empty := New(start).Export()
	for i := range export {
		m := New(start)
		if err := m.Import(export[:i]); err == nil || !bytes.Equal(m.Export(), empty) {
			t.Fatalf("cut to %d octets: got error %v, want one and no change", i, err)
		}
		damaged := bytes.Clone(export)
		damaged[i] ^= 0xff
		if err := m.Import(damaged); err != nil && !bytes.Equal(m.Export(), empty) {
			t.Fatalf("octet %d: got %v and a change", i, err)
		}
	}
	if err := New(start).Import(append(export, 0)); err == nil {
		t.Error("an octet more: got no error")
	}
}

// FuzzImport: what is imported can be asked about, exported and imported again.
func FuzzImport(f *testing.F) {
	f.Add(sample().Export())
	f.Add(New(start).Export())
	f.Fuzz(func(t *testing.T, export []byte) {
		m := New(start)
		if err := m.Import(export); err != nil {
			if m.users.next+m.others.next+m.accepted.next > 0 {
				t.Fatalf("events after %v", err)
			}
			return
		}
		m.Top(start, time.Hour, 10)
		m.Attempt(at(time.Hour), denied("abcdef-1", "192.0.2.7", "anna"), "")
		events := m.Search(Query{}, 1000)
		m.Pairs(Query{}, 10)
		next := New(start)
		if err := next.Import(m.Export()); err != nil {
			t.Fatal(err)
		}
		if got := next.Search(Query{}, 1000); !reflect.DeepEqual(got, events) {
			t.Fatalf("got %+v\nwant %+v", got, events)
		}
	})
}

// FuzzTexts: whatever clients send is kept in bounds, and found again.
func FuzzTexts(f *testing.F) {
	f.Add("anna", "PLAIN", "10 of 10", "EOF")
	f.Add("a\x00=\"\\\xff", "", "", "")
	f.Fuzz(func(t *testing.T, account, method, why, failed string) {
		m := New(start)
		a := user(denied("abcdef-1", "192.0.2.7", account))
		a.Method = method
		m.Attempt(start, a, why)
		m.Record(start, proxy.Record{ID: "abcdef-2", End: proxy.EndPanic, Err: fmt.Errorf("%s", failed)}, why)
		if got := m.Search(Query{Account: account}, 10); account != "" && (len(got) != 1 || len(got[0].Account) > 128) {
			t.Fatalf("got %+v", got)
		}
		if got := m.Find("abcdef-2"); len(got) != 1 || len(got[0].Why) > whyMax {
			t.Fatalf("got %+v", got)
		}
		if err := New(start).Import(m.Export()); err != nil {
			t.Fatal(err)
		}
	})
}
