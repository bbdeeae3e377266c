package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestSecretsStaySecret prints a configuration in every way there is.
func TestSecretsStaySecret(t *testing.T) {
	const hidden = "hunter2hunter2hunter2"
	c := Default()
	c.Tokens = Tokens{API: hidden, Tier: hidden, NATS: hidden}
	c.Sites = []*Site{{Origin: Origin{S3: &S3{SecretKey: hidden}}}}

	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("text", "one", c.Tokens.API, "all", c.Tokens, "deep", *c.Sites[0].Origin.S3)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("json", "one", c.Tokens.API, "all", c)
	asYAML, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{"slog": logged.String(), "yaml": string(asYAML), "json": string(asJSON)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		outputs[verb] = fmt.Sprintf(strings.Replace(verb, "%T ", "", 1), c.Tokens)
	}
	for how, text := range outputs {
		if strings.Contains(text, hidden) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s shows a secret: %s", how, text)
		}
		if !strings.Contains(text, redacted) {
			t.Errorf("%s does not say that there is one: %s", how, text)
		}
	}
	if got := fmt.Sprint(Secret("")); got != "" {
		t.Errorf("an unset secret reads %q", got)
	}
}

// TestMarshalledFormIsReadable holds that what Bytes and Duration write, a file may hold.
func TestMarshalledFormIsReadable(t *testing.T) {
	c := Default()
	c.Shields = []*Shield{{Name: "s", Memory: 256 << 20}}
	out, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"memory: 256MiB", "fill_wait: 30s", "level: INFO"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// TestFaultsKeepSecrets puts secrets where they are wrong.
func TestFaultsKeepSecrets(t *testing.T) {
	for _, text := range []string{
		"tokens: {api: hunter2, tier: [hunter2], nats: {hunter2: 1}}",
		"tokens: {api: hünter2, api_file: none}",
		"tokens:\n  api: \"hunter2\n  tier: x",
		"tokens: {api: !t hunter2, tier: &a hunter2hunter2hunter2, nats: *a}",
		"sites: [{origin: {http: {url: 'http://u:hunter2@h/?x'}}}]",
		"control: {url: 'ftp://u:hunter2@h', nats: {url: 'nats://u:hunter2@h'}}",
	} {
		_, err := Parse([]byte(text), "f", t.TempDir())
		if err == nil {
			t.Fatalf("%s: no error", text)
		}
		// A secret that is written as a key cannot be told from a misspelt key.
		said := strings.Replace(err.Error(), `unknown key "hunter2"`, "", 1)
		if strings.Contains(said, "hunter2") || strings.Contains(said, "hünter2") {
			t.Errorf("%s:\n%v", text, err)
		}
	}
}
