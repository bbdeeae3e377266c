package explain

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"weir/cache/rfc9110"
	"weir/purge"
)

func TestParseQuery(t *testing.T) {
	long := strings.Repeat("x", urlBytesMax)
	for _, row := range []struct {
		name, raw   string
		field, want string // of the error; else the key's text and the fields
	}{
		{"RFC 9110 4.2.3 no path", "url=https://WWW.test:8443", "", "www.test/"},
		{"path and query", "url=http://h/%2561/b%3Fc%3D%252f%26d", "", "h/a/b?c=%2f&d"},
		{"no path, a query", "url=http://h?x=1", "", "h/?x=1"},
		{"two slashes", "url=http://h//a//", "", "h//a//"},
		{"an IPv6 host", "url=http://[::1]:80/", "", "::1/"},
		{"fields", "url=http://h/&header=accept-language:%20de&header=Accept-Language:en&header=accept-encoding:", "",
			"h/ Accept-Encoding:  | Accept-Language: de,en"},
		{"missing", "pop=ams", "url", "missing"},
		{"empty", "url=", "url", "empty"},
		{"a path alone", "url=/a", "url", "does not begin with http"},
		{"another scheme", "url=ftp://h/", "url", "does not begin with http"},
		{"a user", "url=http://u:hunter2@h/", "url", "user name has no place in it (at byte 16)"},
		{"RFC 3986 3.5 fragment", "url=http://h/a%23b", "url", "fragment never reaches a server: leave out # and what follows (at byte 10)"},
		{"a host that is none", "url=http://a%20b/", "url", "no host name has (at byte 7)"},
		{"no host", "url=http:///a", "url", "empty (at byte 7)"},
		{"a dot segment", "url=http://h/a/../b", "url", "the path has a dot segment (at byte 1"},
		{"NUL", "url=http://h/a%2500", "url", "the path has a control byte (at byte 10)"},
		{"a space in the query", "url=http://h/a?b%20c", "url", "(at byte 12)"},
		{"too long", "url=http://h/" + long, "url", "longer than 8192 bytes"},
		{"twice", "url=http://h/&url=http://h/", "url", "given 2 times"},
		{"not percent-encoded", "url=http://h/%zz", "query", "%zz"},
		{"another parameter", "url=http://h/&async=1", "async", "unknown"},
		{"timeout 0", "url=http://h/&timeout=0s", "timeout", "at most 10s"},
		{"timeout too long", "url=http://h/&timeout=11s", "timeout", "at most 10s"},
		{"timeout without unit", "url=http://h/&timeout=2", "timeout", "such as 2s"},
		{"a field without a name", "url=http://h/&header=:x", "header", "not of the form"},
		{"a field without a value", "url=http://h/&header=x", "header", "not of the form"},
		{"a field with a line break", "url=http://h/&header=x:a%0Ab", "header", "control byte"},
		{"a field too long", "url=http://h/&header=x:" + long, "header", "longer than"},
		{"too many fields", "url=http://h/" + strings.Repeat("&header=x:y", fieldsMax+1), "header", "33 times"},
		{"Host", "url=http://h/&header=host:x", "header", "not Host"},
		{"a token", "url=http://h/&header=authorization:%20Bearer%20hunter2", "header", "authorization is not taken"},
		{"a session", "url=http://h/&header=Cookie:%20id=hunter2", "header", "Cookie is not taken"},
	} {
		q, err := parseQuery(row.raw)
		var wrong *purge.FieldError
		if row.field != "" {
			if !errors.As(err, &wrong) || wrong.Field != row.field || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v; want one about %s with %q", row.name, err, row.field, row.want)
			}
			continue
		}
		key, fields, _ := strings.Cut(row.want, " ")
		if err != nil || q.Host+q.Target != key {
			t.Errorf("%s: %s%s, %v; want %s", row.name, q.Host, q.Target, err, key)
		}
		if fields == "" {
			fields = "Accept-Encoding: " + browserEncodings
		}
		if got := shown(q.Header); got != fields {
			t.Errorf("%s: fields %q; want %q", row.name, got, fields)
		}
	}
}

func shown(h http.Header) string {
	var lines []string
	for _, name := range []string{"Accept-Encoding", "Accept-Language"} {
		if values, there := h[name]; there {
			lines = append(lines, name+": "+strings.Join(values, ","))
		}
	}
	return strings.Join(lines, " | ")
}

// FuzzParseQuery holds that no query makes it panic, that refusals name a
// parameter, and that what is taken is a request whose key is that of the
// question.
func FuzzParseQuery(f *testing.F) {
	for _, raw := range []string{
		"url=http://h/a?b&header=Accept-Language:de&pop=ams&timeout=2s", "url=http://[::1]:80//a//%2fb;c?d=%25",
		"url=https://w.test/%C3%BC%5B&header=x", "url=http://h/[]!$'()*+,;=:@&header=a:b&header=a:c",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw)
		if err != nil {
			if wrong := new(purge.FieldError); !errors.As(err, &wrong) || wrong.Field == "" {
				t.Fatalf("%v names no parameter", err)
			}
			return
		}
		r, err := q.request()
		if err != nil {
			t.Fatalf("%q is no request: %v", q.Target, err)
		}
		host, err := rfc9110.CanonicalHost(r.Host)
		if err != nil || host != q.Host {
			t.Fatalf("host %q became %q, %v", q.Host, host, err)
		}
		path, err := rfc9110.NormalisePath(r.URL.EscapedPath())
		if r.URL.RawQuery != "" {
			path += "?" + r.URL.RawQuery
		}
		if err != nil || path != q.Target {
			t.Fatalf("target %q became %q, %v", q.Target, path, err)
		}
		for _, name := range secretFields {
			if _, there := r.Header[name]; there {
				t.Fatalf("%s was taken", name)
			}
		}
	})
}
