package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/joho/godotenv"
)

// readEnvFile reads the settings in a dotenv file, by their names without the
// prefix. Variables of other programs are passed over, but not a setting whose
// prefix was forgotten.
func readEnvFile(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	vars, err := godotenv.UnmarshalBytes(text)
	if err != nil {
		return nil, fmt.Errorf("read settings %s: %s", path, printable(err.Error(), 120))
	}
	found := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(vars)) {
		name, ours := strings.CutPrefix(key, prefix)
		switch {
		case ours && name == "ENV_FILE":
			return nil, fmt.Errorf("read settings %s: %s: takes effect in the environment only", path, key)
		case ours:
			found[name] = strings.TrimSpace(vars[key])
		case isSetting(key):
			return nil, fmt.Errorf("read settings %s: %s: did you mean %s%s?", path, key, prefix, key)
		}
	}
	return found, nil
}

// isSetting reports whether name, without the prefix, is a setting.
func isSetting(name string) bool {
	return slices.ContainsFunc(settings(), func(s setting) bool { return s.Name == name })
}
