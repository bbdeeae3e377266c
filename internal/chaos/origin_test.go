package chaos

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	text := line("www.lab.test/a/1", 42)
	if len(text) != lineBytes {
		t.Errorf("%q has %d bytes", text, len(text))
	}
	if value, err := parseLine(text, "www.lab.test/a/1"); value != 42 || err != nil {
		t.Errorf("%q: %d, %v", text, value, err)
	}
	for _, bad := range []string{line("www.lab.test/a/2", 42), strings.Replace(text, "..", ".:", 1), "", "www.lab.test/a/1 x "} {
		if _, err := parseLine(bad, "www.lab.test/a/1"); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// The origin's answers are what the reader takes for whole, in every manner.
func TestOriginAnswers(t *testing.T) {
	o, err := startOrigin(rand.New(rand.NewPCG(1, originStream)))
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	large := o.all[5]
	o.bump(large)
	for _, row := range []struct {
		field  string
		manner manner
		status int
		values int // lines
	}{
		{"", manner{}, 200, large.lines},
		{"bytes=100-1000", manner{}, 206, 13},
		{"bytes=100-1000", manner{pause: 1}, 206, 13},
		{"", manner{pause: 1}, 200, large.lines},
	} {
		o.set(row.manner)
		request := httptest.NewRequest(http.MethodGet, large.path, nil)
		request.Host = large.host
		if row.field != "" {
			request.Header.Set("Range", row.field)
		}
		w := httptest.NewRecorder()
		o.ServeHTTP(w, request)
		x := exchanged{status: w.Code}
		x.read(w.Result(), large, w.Body.Bytes())
		if w.Code != row.status || x.wrong != nil || len(x.answer.Values) != row.values || x.answer.Values[0] != 2 {
			t.Errorf("%+v: %d, %v, %d values", row, w.Code, x.wrong, len(x.answer.Values))
		}
	}
}
