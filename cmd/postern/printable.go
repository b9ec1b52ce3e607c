package main

// cut ends a text that was longer than it may be.
const cut = "..."

// printable returns s, which may come from anybody, as text that can neither
// end a log line nor look like a part of one: octets outside 0x20-0x7E, quotes,
// backslashes and equals signs become \xNN. The result has at most max octets,
// max being longer than the mark that a cut leaves.
func printable(s string, max int) string {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, min(len(s), max))
	room := max - len(cut)
	fits := 0 // octets of out that leave room for the mark
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '=' {
			out = append(out, '\\', 'x', hex[c>>4], hex[c&15])
		} else {
			out = append(out, c)
		}
		switch {
		case len(out) > max:
			return string(out[:fits]) + cut
		case len(out) <= room:
			fits = len(out)
		}
	}
	return string(out)
}
