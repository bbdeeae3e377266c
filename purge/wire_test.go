package purge_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"weir/purge"
)

var moment = time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)

func TestRecordEncoding(t *testing.T) {
	r := purge.Record{
		Version: 7, Site: "docs", Scope: purge.ScopeURL, Targets: []string{"/a?b=1&c=<2>", "//h.example/"},
		Mode: purge.ModeSoft, Who: "api 192.0.2.1", At: moment,
	}
	body, err := purge.EncodeRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"site":"docs","scope":"url","targets":["/a?b=1&c=<2>","//h.example/"],"mode":"soft",` +
		`"who":"api 192.0.2.1","at":"2026-01-02T03:04:05.6Z"}`
	if string(body) != want {
		t.Errorf("encoding\n%s, want\n%s", body, want)
	}
	if got, err := purge.DecodeRecord(7, body); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, r)
	}
}

// A record of scope asset says by itself what versions look like, and one of a key
// says which.
func TestRecordOfAssetsAndKey(t *testing.T) {
	r := purge.Record{
		Version: 8, Site: "docs", Scope: purge.ScopeAsset, Targets: []string{"/app.3f9a.js"}, Who: "ci 192.0.2.1", At: moment,
		Assets: &purge.Assets{FingerprintMin: 4, Segments: []string{"v#"}, Params: []string{"v"}}, Key: "ci/17",
	}
	body, err := purge.EncodeRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"site":"docs","scope":"asset","targets":["/app.3f9a.js"],` +
		`"assets":{"fingerprint_min":4,"segments":["v#"],"params":["v"]},"mode":"hard",` +
		`"who":"ci 192.0.2.1","at":"2026-01-02T03:04:05.6Z","key":"ci/17"}`
	if string(body) != want {
		t.Errorf("encoding\n%s, want\n%s", body, want)
	}
	if got, err := purge.DecodeRecord(8, body); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, r)
	}
}

// Logs and journals have records of the time when scope all was one site's.
func TestAllOfOneSiteIsItsSite(t *testing.T) {
	r, err := purge.DecodeRecord(1, []byte(`{"site":"docs","scope":"all","mode":"soft","who":"","at":"2026-01-02T03:04:05Z"}`))
	if err != nil || r.Scope != purge.ScopeSite || r.Site != "docs" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	for body, field := range map[string]string{
		``:                                  "body",
		`[]`:                                "body",
		`{"site":"d"`:                       "body",
		`{"site":"d","scope":"all"} {}`:     "body",
		"{\"site\":\"\xff\"}":               "body",
		`{"scope":"all","scope":"url"}`:     "scope",
		`{"Site":"d","scope":"all"}`:        "Site",
		`{"site":"d","scope":"everything"}`: "scope",
		`{"site":"d","scope":"ALL"}`:        "scope",
		`{"site":7}`:                        "site",
		`{"site":null}`:                     "site",
		`{"site":"d"}`:                      "scope",
		`{"scope":"url","targets":["/a"]}`:  "site",
		`{"site":"d","scope":"url"}`:        "targets",
		`{"site":"d","scope":"url","targets":"/a"}`:        "targets",
		`{"site":"d","scope":"url","targets":["/a",null]}`: "targets[1]",
		`{"site":"d","scope":"url","targets":["/a",""]}`:   "targets[1]",
		`{"site":"d","scope":"url","targets":["a"]}`:       "targets[0]",
		`{"site":"d","scope":"url","targets":["//h"]}`:     "targets[0]",
		`{"site":"d","scope":"url","targets":["///a"]}`:    "targets[0]",
		`{"site":"d","scope":"all","targets":["/a"]}`:      "targets",
		`{"site":"d","scope":"all","mode":"gentle"}`:       "mode",
		`{"site":"d","scope":"all","at":"yesterday"}`:      "at",
		`{"site":"d","scope":"all","version":3}`:           "version",
		`{"site":"d","scope":"all","targets":{"a":1}}`:     "targets",
		`{"scope":"site"}`: "site",
		`{"scope":"asset","site":"d","targets":["/a"]}`:                                "assets",
		`{"scope":"url","site":"d","targets":["/a"],"assets":{"fingerprint_min":4}}`:   "assets",
		`{"scope":"asset","site":"d","targets":["/a"],"assets":{"fingerprint_min":3}}`: "assets",
		`{"scope":"asset","site":"d","targets":["/a"],"assets":{"params":["a="]}}`:     "assets",
		`{"scope":"asset","site":"d","targets":["/a"],"assets":7}`:                     "assets",
		`{"scope":"asset","site":"d","targets":["/a"],"assets":{"names":[]}}`:          "assets",
		`{"scope":"asset","site":"d","targets":["a"],"assets":{"fingerprint_min":4}}`:  "targets[0]",
		`{"scope":"all","key":7}`: "key",
	} {
		_, err := purge.DecodeRecord(1, []byte(body))
		var refused *purge.FieldError
		if !errors.As(err, &refused) || refused.Field != field {
			t.Errorf("%s: error %v, want one about %s", body, err, field)
		}
	}
}

func TestRecordLimits(t *testing.T) {
	r := purge.Record{Site: "docs", Scope: purge.ScopeTag, At: moment}
	r.Targets = make([]string, purge.TargetsMax+1)
	for i := range r.Targets {
		r.Targets[i] = "t"
	}
	if _, err := purge.EncodeRecord(r); err == nil {
		t.Error("a target too many was taken")
	}
	r.Targets = r.Targets[:1]
	r.Targets[0] = strings.Repeat("t", purge.TargetBytesMax+1)
	if _, err := purge.EncodeRecord(r); err == nil {
		t.Error("a target that is too long was taken")
	}
	r.Targets = make([]string, 600)
	for i := range r.Targets {
		r.Targets[i] = strings.Repeat("t", purge.TargetBytesMax)
	}
	if _, err := purge.EncodeRecord(r); !errors.Is(err, purge.ErrTooLarge) {
		t.Errorf("a record that is too large: %v", err)
	}
}

func TestDistrustRecordIsTheOneWithoutSite(t *testing.T) {
	body, err := purge.EncodeRecord(purge.Distrust(9, "why"))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := purge.DecodeRecord(9, body); err != nil || r.Site != "" || r.Scope != purge.ScopeAll || r.Who != "why" {
		t.Errorf("decoded %+v, %v", r, err)
	}
}

func TestAnnouncementEncoding(t *testing.T) {
	a := purge.Announcement{Node: "ams", Applied: 1<<64 - 1, Epoch: "e"}
	body, err := purge.EncodeAnnouncement(a)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := purge.DecodeAnnouncement(body); err != nil || got != a {
		t.Errorf("decoded %+v, %v", got, err)
	}
	for _, body := range []string{`{}`, `{"node":"a","applied":1.5}`, `{"node":"a","x":1}`, `{"node":"a","applied":"1"}`,
		`{"node":"` + strings.Repeat("a", 5000) + `"}`} {
		if a, err := purge.DecodeAnnouncement([]byte(body)); err == nil {
			t.Errorf("%.40s decoded to %+v", body, a)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"site":"docs","scope":"url","targets":["/a","//h/b"],"mode":"hard","who":"w","at":"2026-01-02T03:04:05.6Z"}`))
	f.Add([]byte(`{"site":"","scope":"all"}`))
	f.Add([]byte(`{"site":"d","scope":"tag","targets":["\ud800"]}`))
	f.Add([]byte(`{"site":"d","scope":"asset","targets":["/a"],"assets":{"fingerprint_min":4,"segments":["v#"],"params":["v"]},"key":"k"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := purge.DecodeRecord(3, body)
		if err != nil {
			return
		}
		again, err := purge.EncodeRecord(r)
		if errors.Is(err, purge.ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatalf("decoded %+v does not encode: %v", r, err)
		}
		back, err := purge.DecodeRecord(3, again)
		if err != nil || back.Site != r.Site || back.Scope != r.Scope || back.Mode != r.Mode ||
			back.Key != r.Key ||
			!reflect.DeepEqual(back.Targets, r.Targets) || !reflect.DeepEqual(back.Assets, r.Assets) || !back.At.Equal(r.At) {
			t.Fatalf("%+v came back as %+v, %v", r, back, err)
		}
	})
}

func FuzzDecodeAnnouncement(f *testing.F) {
	f.Add([]byte(`{"node":"ams","applied":7,"epoch":"e"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := purge.DecodeAnnouncement(body)
		if err != nil {
			return
		}
		again, err := purge.EncodeAnnouncement(a)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := purge.DecodeAnnouncement(again); len(again) <= 4<<10 && (err != nil || back != a) {
			t.Fatalf("%+v came back as %+v, %v", a, back, err)
		}
	})
}
