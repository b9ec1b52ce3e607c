package config

import (
	"reflect"
	"slices"
	"sync"

	"postern/cmd/postern/internal/engine"
)

// setting is one row of the table of settings: what the tags of one field of
// Config say.
type setting struct {
	Name    string // without the prefix
	Default string // as it would be written; empty if there is none
	About   string // describes a default that is not a fixed value
	Blank   string
	Meaning string
	Common  bool
	Live    bool
	Secret  bool

	field string
	typ   reflect.Type
}

// Want describes the values s may have.
func (s setting) Want() string { return kinds[s.typ].want }

// Show returns value as it may be shown to anybody who can read the terminal.
func (s setting) Show(value string) string {
	_, err := engine.ParseURL(value)
	if value != "" && (s.Secret || s.typ == reflect.TypeFor[engineURL]() && err != nil) { // a URL with a password is wrong
		return "(hidden)"
	}
	return value
}

// settings returns the rows of the table in the order of Config.
var settings = sync.OnceValue(func() []setting {
	return rows(reflect.TypeFor[Config]())
})

// find returns the setting with this name, which is without the prefix.
func find(name string) (s setting, ok bool) {
	i := slices.IndexFunc(settings(), func(s setting) bool { return s.Name == name })
	if i < 0 {
		return s, false
	}
	return settings()[i], true
}

// rows reads the tags of t's fields, and of the fields of the groups in it.
func rows(t reflect.Type) (all []setting) {
	for f := range t.Fields() {
		name, isSetting := f.Tag.Lookup("env")
		switch {
		case isSetting:
			all = append(all, row(name, f))
		case f.IsExported() && f.Type.Kind() == reflect.Struct:
			all = append(all, rows(f.Type)...)
		}
	}
	return all
}

// row reads the tags of one field.
func row(name string, f reflect.StructField) setting {
	return setting{
		Name:    name,
		Default: f.Tag.Get("envDefault"),
		About:   f.Tag.Get("default"),
		Blank:   f.Tag.Get("blank"),
		Meaning: f.Tag.Get("meaning"),
		Common:  f.Tag.Get("common") != "",
		Live:    f.Tag.Get("live") != "",
		Secret:  f.Tag.Get("secret") != "",
		field:   f.Name,
		typ:     f.Type,
	}
}

// defaultValues returns the text of every setting when none is set.
func defaultValues() map[string]string {
	values := map[string]string{}
	for _, s := range settings() {
		values[s.Name] = s.Default
	}
	return values
}

// nearest returns the setting whose name is so close to name that a typing
// error explains the difference, or "".
func nearest(name string) string {
	best, least := "", len(name)/3+1
	for _, s := range settings() {
		if d := distance(name, s.Name); d < least {
			best, least = s.Name, d
		}
	}
	return best
}

// distance counts the insertions, deletions and replacements of octets that
// turn a into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
