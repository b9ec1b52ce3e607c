package config

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/joho/godotenv"

	"postern/cmd/postern/internal/eventlog"
)

// readEnvFile reads the settings in a dotenv file, by their names without the
// prefix. Variables of other programs are ignored, but a setting without its
// prefix is an error.
func readEnvFile(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	vars, err := godotenv.UnmarshalBytes(text)
	if err != nil {
		return nil, fmt.Errorf("read settings %s: %s", path, eventlog.Printable(err.Error(), eventlog.ErrorMax))
	}
	found := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(vars)) {
		name, ours := strings.CutPrefix(key, Prefix)
		switch {
		case ours && name == "ENV_FILE":
			return nil, fmt.Errorf("read settings %s: %s: has effect in the environment only", path, key)
		case ours:
			found[name] = strings.TrimSpace(vars[key])
		default:
			if _, forgotten := find(key); forgotten {
				return nil, fmt.Errorf("read settings %s: %s: did you mean %s%s?", path, key, Prefix, key)
			}
		}
	}
	return found, nil
}
