package dialogue

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// seed is the input of one scripted dialogue, for fuzz targets.
type seed struct {
	protocol string
	offer    int    // index into listenerOffers
	client   string // all octets of the client
	response string // those after the backend's first step
	backend  string // all octets of the backend
}

// listenerOffers are the states of a connection by kind of listener.
var listenerOffers = []Offer{{}, {StartTLS: true}, {StartTLS: true, Cleartext: true}, {TLS: true}, {TLS: true, Forwarder: true}}

// listenerStates are indexes into listenerOffers by a script's listener.
var listenerStates = map[string]int{"clear": 1, "clear cleartext": 2, "tls": 3}

// seeds reads the scripted dialogues of a protocol.
func seeds(f *testing.F, protocol string) (all []seed) {
	f.Helper()
	files, err := filepath.Glob("testdata/dlg/" + protocol + "-*.dlg")
	if err != nil || len(files) == 0 {
		f.Fatalf("no dialogues for %s: %v", protocol, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, readSeed(string(data)))
	}
	return all
}

// readSeed reads one script.
func readSeed(script string) (s seed) {
	backend := false
	for line := range strings.SplitSeq(script, "\n") {
		act, text, _ := strings.Cut(line, " ")
		switch act {
		case "listener":
			protocol, state, _ := strings.Cut(text, " ")
			s.protocol, s.offer = protocol, listenerStates[state]
		case "U<":
			backend = true
		case "U>":
			s.backend += octets(text)
		case "C:":
			s.client += octets(text)
			if backend {
				s.response += octets(text)
			}
		}
	}
	return s
}

var brace = regexp.MustCompile(`\{(plain|b64|repeat):([^}]*)\}`)

// octets makes the octets of a text in a script: nearly as mailtest does, which is
// enough for a seed.
func octets(text string) string {
	text, open := strings.CutSuffix(text, `\c`)
	text = brace.ReplaceAllStringFunc(text, func(b string) string {
		m := brace.FindStringSubmatch(b)
		switch front, last, _ := strings.Cut(m[2], ","); m[1] {
		case "b64":
			return b64(unescaped(m[2]))
		case "plain":
			return b64(front + "\x00" + strings.Replace(last, ",", "\x00", 1))
		default:
			n, _ := strconv.Atoi(last)
			return strings.Repeat(front, min(n, 300))
		}
	})
	if open {
		return unescaped(text)
	}
	return unescaped(text) + "\r\n"
}

// unescaped decodes the escapes of a script.
func unescaped(text string) string {
	quoted := strings.NewReplacer(`\\`, `\\`, `\0`, `\x00`, `"`, `\"`).Replace(text)
	if s, err := strconv.Unquote(`"` + quoted + `"`); err == nil {
		return s
	}
	return text
}
