package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// User is an account at a running server, with its right password.
type User struct{ Account, Password string }

// errNoUsers is returned for a file of users without any.
var errNoUsers = errors.New("got no user, want lines NAME:PASSWORD")

// ReadUsers reads a file of users: lines NAME:PASSWORD, where the first colon
// separates the two. Empty lines, and lines that begin with #, do not count.
func ReadUsers(path string) ([]User, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	users, err := parseUsers(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return users, nil
}

// parseUsers reads what ReadUsers describes. An error names the line, but never
// shows a password.
func parseUsers(r io.Reader) (users []User, err error) {
	lines := bufio.NewScanner(r)
	seen := map[string]int{}
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, password, found := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		switch {
		case !found || name == "" || password == "":
			return nil, fmt.Errorf("line %d: want NAME:PASSWORD", n)
		case seen[name] > 0:
			return nil, fmt.Errorf("line %d: got user %q again, want each once (line %d)", n, name, seen[name])
		}
		seen[name] = n
		users = append(users, User{name, password})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(users) == 0 {
		return nil, errNoUsers
	}
	return users, nil
}

// domain returns the part of an account's name from the @ on, "" if it has none.
func (u User) domain() string {
	if at := strings.LastIndexByte(u.Account, '@'); at >= 0 {
		return u.Account[at:]
	}
	return ""
}
