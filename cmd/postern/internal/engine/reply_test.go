package engine

import (
	"strings"
	"testing"
)

// TestHugeAnswers end the call: neither the lengths that an answer announces nor how deep it nests can end the gateway.
func TestHugeAnswers(t *testing.T) {
	for name, text := range map[string]string{
		"string":        "$100000000000000\r\n",
		"array":         "*1000000000000\r\n",
		"map":           "%1000000000000\r\n",
		"nested arrays": strings.Repeat("*1\r\n", 100_000),
		"many arrays":   strings.Repeat("*100000\r\n", 1000),
		"chunks":        "$?\r\n;100000000000000\r\n",
		"after null":    "*2\r\n_ab$100000000000000\r\n",
		"after boolean": "*2\r\n#tab$100000000000000\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, Config{URL: answer(t, text)})
			if err := add(t, c); err == nil {
				t.Error("got no error")
			}
		})
	}
}
