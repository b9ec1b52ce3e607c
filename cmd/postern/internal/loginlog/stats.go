package loginlog

import "bytes"

// examplesMost is how many lines that are not understood are kept, and exampleMax how many octets of each.
const (
	examplesMost = 5
	exampleMax   = 200
)

// Stats counts lines.
type Stats struct {
	Lines    int // all
	Logins   int // that are about a login
	Obscure  int // that are about a login and were not understood, or are no lines of a log
	Examples []Example
}

// An Example is a line that was not understood.
type Example struct {
	File string
	Line int
	Text string // its beginning, as it is in the file
}

// count counts a line of s, nil for the end of the file. It keeps examples from different places of a log rather than
// the first few lines of one burst: the lines number 1, 2, 4, 8 and 16 that were not understood.
func (st *Stats) count(s *source, m meaning, line []byte) {
	if st == nil {
		return
	}
	if line != nil {
		st.Lines++
	}
	switch m {
	case login:
		st.Logins++
	case obscure:
		st.Obscure++
		if len(st.Examples) < examplesMost && st.Obscure == 1<<len(st.Examples) {
			text := string(bytes.Clone(line[:min(len(line), exampleMax)]))
			st.Examples = append(st.Examples, Example{File: s.name, Line: s.number, Text: text})
		}
	}
}
