package purge_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/purge"
)

// last is the newest record of the log, in short.
func (c *control) last(t *testing.T) string {
	t.Helper()
	state, err := c.log.State(t.Context())
	if err != nil || state.Last == 0 {
		return "none"
	}
	var text string
	err = c.log.Scan(t.Context(), state.Last, state.Last, func(r purge.Record) bool {
		text = fmt.Sprintf("%d %s %s %s %v", r.Version, r.Site, r.Scope, r.Mode, r.Targets)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// as sends a request with no field but those given.
func (c *control) as(method, target, body string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

func TestFastlyHabits(t *testing.T) {
	c := holders(t, purge.RateOptions{})
	const key = "Fastly-Key: docs-secret"
	for _, row := range []struct {
		rule, method, path, body string
		fields                   []string
		status                   int
		answer, record           string
	}{
		{"one key", "POST", "/service/docs/purge/article-17", "", []string{key}, 200, `{"status":"ok","id":"1"}`, "1 docs tag hard [article-17]"},
		{"escaped", "POST", "/service/docs/purge/a%2Fb", "", []string{key}, 200, `{"status":"ok","id":"2"}`, "2 docs tag hard [a/b]"},
		{"soft", "POST", "/service/docs/purge/a", "", []string{key, "Fastly-Soft-Purge: 1"}, 200, `{"status":"ok","id":"3"}`, "3 docs tag soft [a]"},
		{"keys in the header", "POST", "/service/docs/purge", "", []string{key, "Surrogate-Key: a  b", "Surrogate-Key: c"}, 200,
			`{"a":"4","b":"4","c":"4"}`, "4 docs tag hard [a b c]"},
		{"keys in the body", "POST", "/service/docs/purge", `{"surrogate_keys":["a","b"]}`, []string{key}, 200,
			`{"a":"5","b":"5"}`, "5 docs tag hard [a b]"},
		{"all", "POST", "/service/docs/purge_all", "", []string{key}, 200, `{"status":"ok","id":"6"}`, "6 docs site hard []"},
		{"bearer token", "POST", "/service/blog/purge_all", "", []string{"Authorization: Bearer " + secret}, 200, `{"status":"ok","id":"7"}`, "7 blog site hard []"},
		{"no token", "POST", "/service/docs/purge_all", "", nil, 401, `{"msg":"Unauthorized","detail":"a bearer`, ""},
		{"another site", "POST", "/service/blog/purge_all", "", []string{key}, 403, `{"msg":"Forbidden","detail":"the token may not`, ""},
		{"no keys", "POST", "/service/docs/purge", `{}`, []string{key}, 400, `{"msg":"Bad Request","detail":"targets: missing`, ""},
		{"no body", "POST", "/service/docs/purge", ``, []string{key}, 400, `{"msg":"Bad Request","detail":"body:`, ""},
		{"another field", "POST", "/service/docs/purge", `{"keys":["a"]}`, []string{key}, 400, `keys: unknown field`, ""},
		{"a key that cannot be", "POST", "/service/docs/purge/a,b", ``, []string{key}, 400, `without spaces and commas`, ""},
		{"another path", "POST", "/service/docs/version", ``, []string{key}, 404, `{"msg":"Not Found","detail":"no such purge: there are /service/`, ""},
		{"another method", "GET", "/service/docs/purge_all", ``, []string{key}, 405, `{"msg":"Method Not Allowed"`, ""},
	} {
		w := c.as(row.method, row.path, row.body, row.fields...)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.answer) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s, want %d with %s", row.rule, w.Code, w.Body, row.status, row.answer)
		}
		if got := c.last(t); row.record != "" && got != row.record {
			t.Errorf("%s: the log has %s, want %s", row.rule, got, row.record)
		}
	}
	if s := c.Stats(); s != (purge.APIStats{Accepted: 7, Refused: 6, Unauthorised: 1, Forbidden: 1}) {
		t.Errorf("stats %+v", s)
	}
}

func TestCloudflareHabits(t *testing.T) {
	c := holders(t, purge.RateOptions{})
	const path, key = "/client/v4/zones/docs/purge_cache", "Authorization: Bearer docs-secret"
	success := func(id int) string {
		return fmt.Sprintf(`{"success":true,"errors":[],"messages":[],"result":{"id":"%d"}}`, id)
	}
	failure := func(code int, says string) string {
		return fmt.Sprintf(`{"success":false,"errors":[{"code":%d,"message":"%s`, code, says)
	}
	for _, row := range []struct {
		rule, path, body, field string
		status                  int
		answer, record          string
	}{
		{"files", path, `{"files":["https://a.example/a?b","/c"]}`, key, 200, success(1), "1 docs url hard [//a.example/a?b /c]"},
		{"files with headers", path, `{"files":[{"url":"http://a.example/a","headers":{"CF-Device-Type":"mobile"}},"/b"]}`, key, 200,
			success(2), "2 docs url hard [//a.example/a /b]"},
		{"tags", path, `{"tags":["a","b"]}`, key, 200, success(3), "3 docs tag hard [a b]"},
		{"hosts", path, `{"hosts":["A.example"]}`, key, 200, success(4), "4 docs host hard [a.example]"},
		{"prefixes", path, `{"prefixes":["a.example/b","https://a.example/c","a.example"]}`, key, 200,
			success(5), "5 docs prefix hard [//a.example/b //a.example/c //a.example/]"},
		{"everything", path, `{"purge_everything":true}`, key, 200, success(6), "6 docs site hard []"},
		{"the older key", path, `{"purge_everything":true}`, "X-Auth-Key: docs-secret", 200, success(7), "7 docs site hard []"},
		{"not everything", path, `{"purge_everything":false}`, key, 400, failure(1012, "purge_everything: must be true"), ""},
		{"two kinds", path, `{"tags":["a"],"hosts":["b"]}`, key, 400, failure(1012, "hosts: given besides another kind: a purge has one scope"), ""},
		{"none", path, `{}`, key, 400, failure(1012, "body: must have one of"), ""},
		{"nothing in it", path, `{"files":[]}`, key, 400, failure(1012, "targets: missing"), ""},
		{"a file that is none", path, `{"files":[7]}`, key, 400, failure(1012, "files[0]: must be a URL"), ""},
		{"another field", path, `{"urls":[]}`, key, 400, failure(1012, "urls: unknown field"), ""},
		{"no token", path, `{"purge_everything":true}`, "X: y", 401, failure(10000, "a bearer token"), ""},
		{"another zone", "/client/v4/zones/blog/purge_cache", `{"purge_everything":true}`, key, 403, failure(9109, "the token may not"), ""},
		{"another path", "/client/v4/zones/docs/settings", `{}`, key, 404, failure(7003, "no such purge"), ""},
	} {
		w := c.as("POST", row.path, row.body, row.field)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.answer) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s, want %d with %s", row.rule, w.Code, w.Body, row.status, row.answer)
		}
		if got := c.last(t); row.record != "" && got != row.record {
			t.Errorf("%s: the log has %s, want %s", row.rule, got, row.record)
		}
		if row.status != 200 && !strings.HasSuffix(w.Body.String(), `"messages":[],"result":null}`+"\n") {
			t.Errorf("%s: the shape is another: %s", row.rule, w.Body)
		}
	}
}

// Plugins of WordPress send the call as it was once.
func TestCloudflareDelete(t *testing.T) {
	c := holders(t, purge.RateOptions{})
	w := c.as("DELETE", "/client/v4/zones/docs/purge_cache", `{"files":["https://a.example/a"]}`, "X-Auth-Key: docs-secret")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"success":true`) || c.last(t) != "1 docs url hard [//a.example/a]" {
		t.Errorf("%d %s; the log has %s", w.Code, w.Body, c.last(t))
	}
	w = c.as("PUT", "/client/v4/zones/docs/purge_cache", `{"purge_everything":true}`, "X-Auth-Key: docs-secret")
	if w.Code != 405 || w.Header().Get("Allow") != "POST, DELETE" {
		t.Errorf("PUT: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func FuzzCloudflareBody(f *testing.F) {
	for _, body := range []string{`{"files":["/a",{"url":"/b"}]}`, `{"prefixes":["a.example/b"]}`, `{"purge_everything":true}`, `{"tags":["a"],"hosts":[]}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c := holders(t, purge.RateOptions{})
		w := c.as("POST", "/client/v4/zones/docs/purge_cache", string(body), "Authorization: Bearer "+secret)
		var answer struct {
			Success bool
			Errors  []struct{ Message string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Success != (w.Code == 200) || answer.Success == (len(answer.Errors) > 0) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

func TestAnswerMethod(t *testing.T) {
	c := holders(t, purge.RateOptions{BroadPerSecond: 1})
	for _, row := range []struct {
		rule   string
		call   purge.MethodCall
		answer purge.MethodAnswer
		record string
	}{
		{"a URL", purge.MethodCall{Token: "docs-secret", Site: "docs", URL: "http://a.example/a?b"},
			purge.MethodAnswer{Status: 200, Version: 1}, "1 docs url hard [//a.example/a?b]"},
		{"tags", purge.MethodCall{Token: "docs-secret", Site: "docs", URL: "http://a.example/", Tags: []string{"a", "b"}, Soft: true},
			purge.MethodAnswer{Status: 200, Version: 2}, "2 docs tag soft [a b]"},
		{"a key", purge.MethodCall{Token: "docs-secret", Site: "docs", URL: "http://a.example/", Key: "k"},
			purge.MethodAnswer{Status: 200, Version: 3}, "3 docs url hard [//a.example/]"},
		{"a key again", purge.MethodCall{Token: "docs-secret", Site: "docs", URL: "http://a.example/", Key: "k"},
			purge.MethodAnswer{Status: 200, Version: 3}, ""},
		{"no token", purge.MethodCall{Site: "docs", URL: "http://a.example/"}, purge.MethodAnswer{Status: 401}, ""},
		{"another site", purge.MethodCall{Token: "docs-secret", Site: "blog", URL: "http://a.example/"}, purge.MethodAnswer{Status: 403}, ""},
		{"no URL", purge.MethodCall{Token: "docs-secret", Site: "docs", URL: "http://"}, purge.MethodAnswer{Status: 400}, ""},
	} {
		row.call.Node, row.call.Client = "ams", "192.0.2.7"
		question, _ := json.Marshal(row.call)
		var got purge.MethodAnswer
		if err := json.Unmarshal(c.AnswerMethod(t.Context(), question), &got); err != nil {
			t.Fatal(err)
		}
		if got.Status != row.answer.Status || got.Version != row.answer.Version || (got.Error == "") != (got.Status == 200) {
			t.Errorf("%s: %+v, want %+v", row.rule, got, row.answer)
		}
		if last := c.last(t); row.record != "" && last != row.record {
			t.Errorf("%s: the log has %s, want %s", row.rule, last, row.record)
		}
	}
	if got := string(c.AnswerMethod(t.Context(), []byte("{"))); !strings.Contains(got, `"status":400`) {
		t.Errorf("nonsense: %s", got)
	}
	if audit := c.audit.String(); !strings.Contains(audit, `method=PURGE path=http://a.example/a?b status=200 who="docs 192.0.2.7 by ams"`) ||
		strings.Contains(audit, "docs-secret") {
		t.Errorf("audit log:\n%s", audit)
	}
}

// Whatever a node passes on, control answers it.
func FuzzAnswerMethod(f *testing.F) {
	f.Add([]byte(`{"node":"ams","client":"192.0.2.7","token":"docs-secret","site":"docs","url":"http://a.example/a","tags":["a"],"soft":true,"key":"k"}`))
	f.Add([]byte(`{"token":"docs-secret","site":"docs","url":"http://a.example/%zz"}`))
	f.Fuzz(func(t *testing.T, question []byte) {
		c := holders(t, purge.RateOptions{})
		var got purge.MethodAnswer
		if err := json.Unmarshal(c.AnswerMethod(t.Context(), question), &got); err != nil || got.Status == 0 || (got.Status == 200) != (got.Version == 1) {
			t.Fatalf("%q: %+v, %v", question, got, err)
		}
	})
}
