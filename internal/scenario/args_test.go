package scenario

import (
	"testing"

	"github.com/cockroachdb/datadriven"
)

// A misspelt argument must not pass for one that was left out.
func TestArgsNameWhatIsWrong(t *testing.T) {
	read := func(a *args) {
		a.text("path", "")
		a.duration("delay")
		a.bytes("size")
		a.flag("drop")
		a.number("n", 1)
	}
	for _, test := range []struct{ line, want string }{
		{"origin path=/a delay=1s size=2KiB drop n=3", ""},
		{"origin path=/a?x=1 delay=0s", ""},
		{"origin path=/a dely=1s", `argument "dely" is not known here`},
		{"origin path=(/a,/b)", "path: wants one value"},
		{"origin path", "path: wants one value"},
		{"origin delay=1", `delay: time: missing unit in duration "1"`},
		{"origin size=1KB", `size: strconv.Atoi: parsing "1KB": invalid syntax`},
		{"origin n=many", `n: strconv.Atoi: parsing "many": invalid syntax`},
	} {
		command, values, err := datadriven.ParseLine(test.line)
		if err != nil {
			t.Fatal(err)
		}
		a := &args{data: &datadriven.TestData{Cmd: command, CmdArgs: values}, used: make(map[string]bool)}
		read(a)
		got := ""
		if err := a.check(); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: got %q; want %q", test.line, got, test.want)
		}
	}
}

func TestParseMessage(t *testing.T) {
	for _, test := range []struct{ input, field, body string }{
		{"", "", ""},
		{"etag: \"v1\"", `"v1"`, ""},
		{"ETag: \"v1\"\n\none\n\ntwo: 2", `"v1"`, "one\n\ntwo: 2"},
		{"just a body\nETag: no", "", "just a body\nETag: no"},
	} {
		header, body, err := parseMessage(test.input)
		if err != nil || header.Get("ETag") != test.field || body != test.body {
			t.Errorf("%q: got %q, %q, %v; want %q, %q", test.input, header.Get("ETag"), body, err, test.field, test.body)
		}
	}
	if _, _, err := parseMessage("ETag: \"v1\"\nno header"); err == nil {
		t.Error("a line that is neither header nor empty was taken")
	}
}
