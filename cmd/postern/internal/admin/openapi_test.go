package admin

import (
	"encoding"
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"postern/cmd/postern/internal/decisions"
)

// loadOpenAPI reads openapi.yaml, which must be valid.
func loadOpenAPI(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// operationOf returns r as the file has it.
func operationOf(t *testing.T, doc *openapi3.T, r route) *openapi3.Operation {
	t.Helper()
	item := doc.Paths.Value(r.documentedPath())
	if item == nil || item.GetOperation(r.method) == nil {
		t.Fatalf("%s %s is not in openapi.yaml", r.method, r.path)
	}
	return item.GetOperation(r.method)
}

// TestOpenAPIRoutes: the file has the routes with their roles and types, and no others.
func TestOpenAPIRoutes(t *testing.T) {
	doc := loadOpenAPI(t)
	routed := map[string]bool{}
	for _, r := range routes() {
		name := r.method + " " + r.documentedPath()
		routed[name] = true
		o := operationOf(t, doc, r)
		if o.Summary != r.meaning {
			t.Errorf("%s: got summary %q, want %q", name, o.Summary, r.meaning)
		}
		compareSecurity(t, name, o, r)
		if (o.RequestBody == nil) != (r.request == nil) {
			t.Errorf("%s: got request body %v, want %v", name, o.RequestBody, r.request)
		} else if r.request != nil {
			compareType(t, name+" request", o.RequestBody.Value.Content.Get("application/json"), r.request, true)
		}
		success := o.Responses.Value("200").Value.Content
		media := "application/json"
		if r.isStream {
			media = "text/event-stream"
		}
		if r.answer != nil {
			compareType(t, name+" answer", success.Get(media), r.answer, false)
		} else if success["application/json"] != nil {
			t.Errorf("%s: got JSON, want none", name)
		}
		for status, response := range o.Responses.Map() {
			if status != "200" && !r.isPlain {
				compareType(t, name+" "+status, response.Value.Content.Get(problemType), reflect.TypeFor[Problem](), false)
			}
		}
		if !r.isPlain && o.Responses.Default() == nil {
			t.Errorf("%s: got no default answer, want a problem", name)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !routed[method+" "+path] {
				t.Errorf("%s %s is in openapi.yaml and is no route", method, path)
			}
		}
	}
}

// compareSecurity compares the roles that o asks for with that of r.
func compareSecurity(t *testing.T, name string, o *openapi3.Operation, r route) {
	t.Helper()
	needsNone := len(*o.Security) == 0
	for _, way := range *o.Security {
		if len(way) == 0 {
			needsNone = true
			continue
		}
		_, bySession := way["session"]
		_, hasCSRF := way["csrf"]
		if bySession && hasCSRF != (r.method != http.MethodGet) {
			t.Errorf("%s: got CSRF token %v with a session", name, hasCSRF)
		}
		if roles := slices.Concat(way["bearer"], way["session"], way["apiKey"]); r.needs != roleNone && !slices.Equal(roles, []string{r.needs.String()}) {
			t.Errorf("%s: got roles %q, want %v", name, roles, r.needs)
		}
	}
	if needsNone != (r.needs == roleNone) {
		t.Errorf("%s: got security %v, want role %v", name, *o.Security, r.needs)
	}
}

// compareType compares the schema of a media type with the JSON of a Go type.
func compareType(t *testing.T, where string, media *openapi3.MediaType, goType reflect.Type, isRequest bool) {
	t.Helper()
	if media == nil || media.Schema == nil {
		t.Errorf("%s: got no schema, want that of %v", where, goType)
		return
	}
	comparison{t: t, isRequest: isRequest}.schema(where, media.Schema.Value, goType)
}

// comparison compares schemas with Go types.
type comparison struct {
	t         *testing.T
	isRequest bool
}

// schema compares one schema with one type.
func (c comparison) schema(where string, s *openapi3.Schema, goType reflect.Type) {
	c.t.Helper()
	want, format := jsonType(goType)
	if !s.Type.Is(want) || s.Format != format {
		c.t.Errorf("%s: got type %v, format %q, want %s, %q for %v", where, s.Type, s.Format, want, format, goType)
		return
	}
	for goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	switch {
	case want == "array":
		c.schema(where+"[]", s.Items.Value, goType.Elem())
	case goType.Kind() == reflect.Map && s.AdditionalProperties.Schema == nil:
		c.t.Errorf("%s: got no additionalProperties, want those of %v", where, goType)
	case goType.Kind() == reflect.Map:
		c.schema(where+"[]", s.AdditionalProperties.Schema.Value, goType.Elem())
	case want == "object":
		c.object(where, s, goType)
	}
}

// object compares the properties of a schema with the fields of a struct, and which of
// them are always there.
func (c comparison) object(where string, s *openapi3.Schema, goType reflect.Type) {
	c.t.Helper()
	fields, required := map[string]reflect.Type{}, []string{}
	for _, f := range reflect.VisibleFields(goType) {
		if !f.IsExported() {
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || f.Anonymous {
			c.t.Fatalf("%s: the field %s of %v has no name in JSON", where, f.Name, goType)
		}
		fields[name] = f.Type
		if option == "" {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	if got := slices.Sorted(slices.Values(s.Required)); !slices.Equal(got, required) {
		c.t.Errorf("%s: got required %q, want %q", where, got, required)
	}
	if got, want := slices.Sorted(maps.Keys(s.Properties)), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
		c.t.Errorf("%s: got properties %q, want %q", where, got, want)
		return
	}
	if closed := s.AdditionalProperties.Has != nil && !*s.AdditionalProperties.Has; closed != c.isRequest {
		c.t.Errorf("%s: got additionalProperties: false %v, want %v: the server refuses unknown fields", where, closed, c.isRequest)
	}
	for name, goType := range fields {
		c.schema(where+"."+name, s.Properties[name].Value, goType)
	}
}

// jsonType returns type and format of the JSON of a Go type.
func jsonType(goType reflect.Type) (name, format string) {
	switch goType {
	case reflect.TypeFor[time.Time]():
		return "string", "date-time"
	case reflect.TypeFor[time.Duration]():
		return "integer", "int64"
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix](), reflect.TypeFor[[]byte]():
		return "string", ""
	}
	if goType.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return "string", ""
	}
	switch kind := goType.Kind(); {
	case kind == reflect.Pointer:
		return jsonType(goType.Elem())
	case kind == reflect.Struct, kind == reflect.Map:
		return "object", ""
	case kind == reflect.Slice:
		return "array", ""
	case kind == reflect.Float64:
		return "number", ""
	case kind == reflect.Bool:
		return "boolean", ""
	case kind >= reflect.Int && kind <= reflect.Uint64:
		return "integer", ""
	}
	return goType.Kind().String(), ""
}

// TestOpenAPIAnswers validates the answer to a request for each route, and of each
// refusal, with the file.
func TestOpenAPIAnswers(t *testing.T) {
	doc := loadOpenAPI(t)
	s := start(t, "POSTERN_ADMIN_LISTEN=unix:"+t.TempDir()+"/s")
	s.post(t, IncidentsPath, `{"action":"open","class":"attack","by":"anna"}`)
	bodies := map[string]string{
		IncidentsPath: `{"action":"ack","by":"anna"}`, decisions.Path: `{"kind":"block","network":"192.0.2.0/24","by":"anna"}`,
		decisions.ReleasePath: `{"of":"192.0.2.1","by":"anna"}`, decisions.ForgetPath: `{"account":"anna","by":"berta"}`, LearnPath: `{"known":"","watch":""}`,
	}
	for _, r := range routes() {
		if r.answer == nil || r.isStream || r.path == loginPath {
			continue
		}
		path := strings.Replace(r.path, "{id}", "latest", 1)
		for _, query := range []string{"?format=json&about=anna", "?format=json&public=true&about=bad"} {
			code, text := s.ask(t, request{method: r.method, path: path + query, body: bodies[r.path]})
			media, status := "application/json", "200"
			if code != http.StatusOK {
				media, status = problemType, "default"
			}
			var value any
			if err := json.Unmarshal([]byte(text), &value); err != nil {
				t.Errorf("%s %s: %d %v", r.method, path, code, err)
				continue
			}
			schema := operationOf(t, doc, r).Responses.Value(status).Value.Content.Get(media).Schema.Value
			if err := doc.ValidateSchemaJSON(schema, value, openapi3.VisitAsResponse()); err != nil {
				t.Errorf("%s %s: %d %s: %v", r.method, path, code, text, err)
			}
			if code != http.StatusOK && !strings.Contains(query, "bad") {
				t.Errorf("%s %s: got %d %s", r.method, path, code, text)
			}
		}
	}
}
