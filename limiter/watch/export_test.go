package watch

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// notExported are the fields that an export does not have, with the reason.
var notExported = map[string]string{
	"Watch.mu":                   "a lock",
	"Watch.location":             "from the configuration",
	"Watch.hash":                 "from the configuration",
	"Watch.own":                  "the other gateways miss the tick of the hand-over",
	"Watch.ended":                "of own",
	"collector.own":              "of the Watch",
	"guesses.hash":               "from the configuration",
	"collector.hash":             "from the configuration",
	"top[netip.Prefix].capacity": "constant",
	"top[string].capacity":       "constant",
	"generations[netip.Prefix,watch.attacker].capacity":     "constant",
	"generations[netip.Prefix,[]watch.acceptance].capacity": "constant",
	"generations[netip.Prefix,int].capacity":                "constant",
	"generations[uint64,struct {}].capacity":                "constant",
}

// withoutPaths removes the paths of packages from the names of types.
var withoutPaths = strings.NewReplacer("net/netip.", "netip.", "postern/limiter/", "")

// exportedFields are the fields of each type of struct that an export has.
var exportedFields = map[reflect.Type][]structField{}

// structField is a field of a struct.
type structField struct {
	index int
	name  string // with its struct
	of    reflect.Type
}

// exportedOf returns the fields of a struct that an export has.
func exportedOf(of reflect.Type) []structField {
	all, there := exportedFields[of]
	if there {
		return all
	}
	for i := range of.NumField() {
		f := structField{i, withoutPaths.Replace(of.Name()) + "." + of.Field(i).Name, of.Field(i).Type}
		if notExported[f.name] == "" {
			all = append(all, f)
		}
	}
	exportedFields[of] = all
	return all
}

// plain reports whether the fields of a struct are not looked at.
func plain(of reflect.Type) bool {
	return of == reflect.TypeFor[time.Time]() || of == reflect.TypeFor[netip.Prefix]()
}

// fieldComparison compares two values field by field.
type fieldComparison struct {
	set   map[string]bool // whether each field has a value somewhere
	wrong []string        // fields that differ
}

// compare compares a and b, which are the value of the field of this name or a part of it.
func (f *fieldComparison) compare(name string, a, b reflect.Value) {
	switch a.Kind() {
	case reflect.Struct:
		if plain(a.Type()) {
			f.equal(name, fmt.Sprint(a), fmt.Sprint(b))
			return
		}
		for _, field := range exportedOf(a.Type()) {
			in, other := a.Field(field.index), b.Field(field.index)
			f.set[field.name] = f.set[field.name] || !in.IsZero()
			f.compare(field.name, in, other)
		}
	case reflect.Pointer:
		if f.equal(name, a.IsNil(), b.IsNil()); !a.IsNil() && !b.IsNil() {
			f.compare(name, a.Elem(), b.Elem())
		}
	case reflect.Slice, reflect.Array:
		f.equal(name, a.Len(), b.Len())
		for i := range min(a.Len(), b.Len()) {
			f.compare(name, a.Index(i), b.Index(i))
		}
	case reflect.Map:
		f.equal(name, a.Len(), b.Len())
		for _, key := range a.MapKeys() {
			if other := b.MapIndex(key); other.IsValid() {
				f.compare(name, a.MapIndex(key), other)
			} else {
				f.wrong = append(f.wrong, name)
			}
		}
	case reflect.Float64:
		f.equal(name, a.Float(), b.Float())
	case reflect.Int, reflect.Int64:
		f.equal(name, a.Int(), b.Int())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		f.equal(name, a.Uint(), b.Uint())
	default:
		f.equal(name, fmt.Sprint(a), fmt.Sprint(b))
	}
}

// equal notes whether two plain values are the same.
func (f *fieldComparison) equal(name string, a, b any) {
	if a != b && len(f.wrong) < 20 {
		f.wrong = append(f.wrong, fmt.Sprintf("%s: got %v, want %v", name, b, a))
	}
}

// compareContents compares the contents of two watches.
func compareContents(a, b *Watch) *fieldComparison {
	f := &fieldComparison{set: map[string]bool{}}
	f.compare("Watch", reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem())
	return f
}

// handOver returns a watch with what w exports at t.
func handOver(t testing.TB, now time.Time, w *Watch) *Watch {
	t.Helper()
	next := New(Config{Location: w.location})
	if err := next.Import(now, w.Export(now)); err != nil {
		t.Fatal(err)
	}
	return next
}

// TestExportHasEveryField of every struct in a Watch. A new field needs a line in the function code of its struct.
func TestExportHasEveryField(t *testing.T) {
	w := filledWatch()
	f := compareContents(w, handOver(t, w.latest, w))
	for _, wrong := range f.wrong {
		t.Error(wrong)
	}
	for field, set := range f.set {
		if !set {
			t.Errorf("%s: this test has no value for it", field)
		}
	}
}

// TestExportFieldsHaveAVersion: a change of the fields that are exported is a new version.
func TestExportFieldsHaveAVersion(t *testing.T) {
	const file = "testdata/exportfields.txt"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := append([]string{fmt.Sprintf("version %d", exportVersion)}, fieldsOf(reflect.TypeFor[Watch](), map[reflect.Type]bool{})...)
	lines := strings.Split(strings.TrimSpace(string(want)), "\n")
	for _, line := range got {
		if !slices.Contains(lines, line) {
			t.Errorf("new: %s", line)
		}
	}
	for _, line := range lines {
		if !slices.Contains(got, line) {
			t.Errorf("missing: %s", line)
		}
	}
	if t.Failed() {
		t.Errorf("the exported fields have changed: raise exportVersion, and adapt %s", file)
	}
}

// fieldsOf lists the fields of a type and of all types in it, but for those seen.
func fieldsOf(of reflect.Type, seen map[reflect.Type]bool) (all []string) {
	if seen[of] || plain(of) {
		return nil
	}
	seen[of] = true
	switch of.Kind() {
	case reflect.Struct:
		for _, f := range exportedOf(of) {
			all = append(all, f.name+" "+withoutPaths.Replace(f.of.String()))
			all = append(all, fieldsOf(f.of, seen)...)
		}
	case reflect.Map:
		all = append(fieldsOf(of.Key(), seen), fieldsOf(of.Elem(), seen)...)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		all = fieldsOf(of.Elem(), seen)
	}
	return all
}

// filledWatch returns a watch in which no field is zero.
func filledWatch() *Watch {
	w := New(Config{Location: monday.Location()})
	var f filler
	f.fill(reflect.ValueOf(&w.content).Elem())
	w.started = w.latest
	w.detector.baseline.count()
	fixTop(w.hours.sources, topCapacity)
	fixTop(w.hours.networks, topCapacity)
	fixTop(w.hours.accounts, topCapacity)
	fixTop(w.hours.ja4.denied, ja4Capacity)
	fixTop(w.hours.ja4.accepted, ja4Capacity)
	w.hours.abused.at, w.hours.abused.again = map[uint64]int{7: 0, 8: 1}, []uint64{7}
	return w
}

// fixTop makes what follows from the entries agree with them.
func fixTop[K comparable](p *top[K], capacity int) {
	p.capacity, p.at, p.order = capacity, map[K]int{p.entries[0].key: 0, p.entries[1].key: 1}, []int{1, 0}
	p.entries[0].place, p.entries[1].place = 1, 0
}

// filler fills fields with values, which differ from field to field.
type filler struct{ n int }

// fill sets v and all that is in it.
func (f *filler) fill(v reflect.Value) {
	f.n++
	switch v.Kind() {
	case reflect.Struct:
		f.fillStruct(v)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		f.fill(v.Elem())
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		}
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key)
		f.fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1.5 + float64(f.n%8))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(1 + f.n%50))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(1 + f.n%4))
	case reflect.String:
		if v.SetString(fmt.Sprintf("name %d", f.n)); v.Type() == reflect.TypeFor[Class]() {
			v.SetString(string(ClassAttack))
		}
	default:
		panic("no value for a field of type " + v.Type().String())
	}
}

// fillStruct sets the fields of a struct that are exported.
func (f *filler) fillStruct(v reflect.Value) {
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		*at = monday.Add(time.Duration(f.n%1000) * time.Second)
		return
	case *netip.Prefix:
		*at = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(f.n >> 16), byte(f.n >> 8), byte(f.n)}), 32)
		return
	}
	for _, field := range exportedOf(v.Type()) {
		f.fill(reflect.NewAt(field.of, v.Field(field.index).Addr().UnsafePointer()).Elem())
	}
}
