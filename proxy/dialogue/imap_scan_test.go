package dialogue

import (
	"strings"
	"testing"
)

// tagChars is every octet of RFC 3501's tag, written out.
const tagChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&',-./:;<=>?@[]^_`|}~"

// TestScanOctets tries each octet in each element of the grammar.
func TestScanOctets(t *testing.T) {
	for i := range 256 {
		c := string([]byte{byte(i)})
		tag := strings.Contains(tagChars, c)
		atom := c == "+" || tag && c != "]"
		if got, _, err := scanTag([]byte("a" + c + "b x")); (err == nil && got == "a"+c+"b") != tag {
			t.Errorf("octet %#x in a tag: %q, %v", i, got, err)
		}
		if got, _, err := scanAtom([]byte("A" + c + "B x")); (err == nil && len(got) == 3) != atom {
			t.Errorf("octet %#x in an atom: %q, %v", i, got, err)
		}
		value, _, err := scanQuoted([]byte(`"a` + c + `b"`))
		if quoted := !strings.Contains("\x00\r\"\\", c); (string(value) == "a"+c+"b" && err == nil) != quoted && c != "\n" {
			t.Errorf("octet %#x in quotes: %q, %v", i, value, err)
		}
		a := newIMAPArgs(NewConn(peerSends("")), []byte("a"+c+"b"))
		value, err = a.astring()
		if astring := atom || c == "]"; (string(value) == "a"+c+"b" && err == nil) != astring {
			t.Errorf("octet %#x in an astring: %q, %v", i, value, err)
		}
	}
}

func TestScanTag(t *testing.T) {
	long := strings.Repeat("t", maxTag)
	tests := []struct {
		in, tag, rest string
		ok            bool
	}{
		{"a1 NOOP", "a1", "NOOP", true},
		{"a1 ", "a1", "", true},
		{"a1  NOOP", "a1", " NOOP", true},
		{"a}b NOOP", "a}b", "NOOP", true},
		{"x[1 NOOP", "x[1", "NOOP", true},
		{"a]b NOOP", "a]b", "NOOP", true},
		{";:<>?/ NOOP", ";:<>?/", "NOOP", true},
		{long + " x", long, "x", true},
		{long + "t x", "", "", false},
		{"", "", "", false},
		{"a1", "", "", false},
		{" NOOP", "", "", false},
		{"* NOOP", "", "", false},
		{"+ NOOP", "", "", false},
		{"a+b NOOP", "", "", false},
		{"a*b NOOP", "", "", false},
		{"a%b NOOP", "", "", false},
		{"a(b NOOP", "", "", false},
		{"a)b NOOP", "", "", false},
		{"a{b NOOP", "", "", false},
		{`a"b NOOP`, "", "", false},
		{`a\b NOOP`, "", "", false},
		{"a\tNOOP", "", "", false},
		{"a\x00 NOOP", "", "", false},
		{"a\r NOOP", "", "", false},
		{"\xff NOOP", "", "", false},
		{"ä NOOP", "", "", false},
		{"a\x7f NOOP", "", "", false},
	}
	for _, tt := range tests {
		tag, rest, err := scanTag([]byte(tt.in))
		if tag != tt.tag || string(rest) != tt.rest || (err == nil) != tt.ok {
			t.Errorf("%q: got %q, %q, %v", tt.in, tag, rest, err)
		}
	}
}

func TestScanAtom(t *testing.T) {
	tests := []struct {
		in, name, args string
		ok             bool
	}{
		{"LOGIN a b", "LOGIN", "a b", true},
		{"login", "LOGIN", "", true},
		{"login ", "LOGIN", "", true},
		{"LoGiN  a", "LOGIN", " a", true},
		{"SCRAM-SHA-1-PLUS x=", "SCRAM-SHA-1-PLUS", "x=", true},
		{"", "", "", false},
		{" LOGIN", "", "", false},
		{"LOGIN(a", "", "", false},
		{"LOGIN]", "", "", false},
		{"LOGIN\ta b", "", "", false},
		{"{3}", "", "", false},
		{"LOGIN\x00", "", "", false},
		{"LÖGIN", "", "", false},
	}
	for _, tt := range tests {
		name, args, err := scanAtom([]byte(tt.in))
		if name != tt.name || string(args) != tt.args || (err == nil) != tt.ok {
			t.Errorf("%q: got %q, %q, %v", tt.in, name, args, err)
		}
	}
}

func TestScanQuoted(t *testing.T) {
	tests := []struct {
		in, value, rest string
		ok              bool
	}{
		{`"user" x`, `user`, ` x`, true},
		{`""`, ``, ``, true},
		{`"" `, ``, ` `, true},
		{`"a b"c`, `a b`, `c`, true},
		{`"a\"b"`, `a"b`, ``, true},
		{`"a\\"`, `a\`, ``, true},
		{`"\\\""`, `\"`, ``, true},
		{`"(){%*]+"`, `(){%*]+`, ``, true},
		{`"{3}"`, `{3}`, ``, true},
		{"\"t\tt\"", "t\tt", "", true},
		{"\"j\xc3\xb6rg\"", "j\xc3\xb6rg", "", true},
		{"\"\xff\"", "\xff", "", true},
		{``, ``, ``, false},
		{`"`, ``, ``, false},
		{`"user`, ``, ``, false},
		{`"user\"`, ``, ``, false},
		{`"user\`, ``, ``, false},
		{`"a\nb"`, ``, ``, false},
		{`"a\ b"`, ``, ``, false},
		{"\"a\\\x00\"", ``, ``, false},
		{"\"a\x00b\"", ``, ``, false},
		{"\"a\rb\"", ``, ``, false},
	}
	for _, tt := range tests {
		value, rest, err := scanQuoted([]byte(tt.in))
		if string(value) != tt.value || string(rest) != tt.rest || (err == nil) != tt.ok {
			t.Errorf("%q: got %q, %q, %v", tt.in, value, rest, err)
		}
	}
}

func TestScanLiteral(t *testing.T) {
	sync := func(n int) *literal { return &literal{n, true} }
	nonsync := func(n int) *literal { return &literal{n, false} }
	tests := []struct {
		in   string
		want *literal // nil is a syntax error
	}{
		{"{0}", sync(0)},
		{"{0+}", nonsync(0)},
		{"{11}", sync(11)},
		{"{11+}", nonsync(11)},
		{"{007}", sync(7)},
		{"{4294967295}", sync(1<<32 - 1)},
		{"{4294967296}", sync(maxLiteralSize)},
		{"{4294967297+}", nonsync(maxLiteralSize)}, // wraps to 1 in 32 bits
		{"{18446744073709551617}", sync(maxLiteralSize)},
		{"{99999999999999999999}", sync(maxLiteralSize)},
		{"{}", nil},
		{"{+}", nil},
		{"{-1}", nil},
		{"{-1+}", nil},
		{"{+1}", nil},
		{"{0x5}", nil},
		{"{5++}", nil},
		{"{5-}", nil},
		{"{5 }", nil},
		{"{ 5}", nil},
		{"{1.5}", nil},
		{"{1e3}", nil},
		{"{1_0}", nil},
		{"{\xd9\xa3}", nil}, // a digit, though not an ASCII one
		{"{5", nil},
		{"{5+", nil},
		{"5}", nil},
		{"{5}x", nil},
		{"{5} ", nil},
		{"{{5}}", nil},
		{"~{5}", nil},
		{"", nil},
		{"{", nil},
		{"}", nil},
	}
	for _, tt := range tests {
		l, err := scanLiteral([]byte(tt.in))
		if (err == nil) != (tt.want != nil) || tt.want != nil && l != *tt.want {
			t.Errorf("%q: got %+v, %v", tt.in, l, err)
		}
	}
}

func TestTrailingLiteral(t *testing.T) {
	tests := []struct {
		in   string
		want *literal // nil is none
	}{
		{"{5}", &literal{5, true}},
		{"a1 LOGIN {5+}", &literal{5, false}},
		{"(bad tag) {5+}", &literal{5, false}},
		{"a1 LOGIN ~{5+}", &literal{5, false}},
		{`a1 LOGIN "{5+}`, &literal{5, false}},
		{"\x00{5+}", &literal{5, false}},
		{"{1}{2}", &literal{2, true}},
		{"{{5+}", &literal{5, false}},
		{"a1 NOOP", nil},
		{"", nil},
		{"{5+} ", nil},
		{"{5+}x", nil},
		{"{}", nil},
		{"{+}", nil},
		{"{5", nil},
		{"5+}", nil},
	}
	for _, tt := range tests {
		l, ok := trailingLiteral([]byte(tt.in))
		if ok != (tt.want != nil) || ok && l != *tt.want {
			t.Errorf("%q: got %+v, %v", tt.in, l, ok)
		}
	}
}
