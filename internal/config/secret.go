package config

import (
	"fmt"
	"log/slog"
	"strings"
)

// redacted stands for every secret in logs and output.
const redacted = "REDACTED"

// secretFileBytesMax bounds a file that holds one secret.
const secretFileBytesMax = 4 << 10

// Secret is text that must not be shown. However it is printed, logged or
// marshalled it reads REDACTED, and an unset one stays empty, so that output
// tells whether it is there. string(s) is the text itself.
type Secret string

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format answers every verb of package fmt, %d and %x among them.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue is for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalYAML is for YAML.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// MarshalText is for JSON, and whatever else asks for text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// settleSecret takes a secret from the file that at_file names, if that key is
// given. White space around it goes, since editors end a file with a newline.
func settleSecret(at spot, secret *Secret, file *string, baseDir string) {
	atFile := at.parent().field(at.name() + "_file")
	if !atFile.given() {
		return
	}
	if at.given() {
		atFile.bad(fmt.Sprintf("%s is given besides %s", atFile, at.name()), "keep one of the two")
		return
	}
	resolve(baseDir, file)
	data, err := readRegular(*file, secretFileBytesMax)
	if err != nil {
		atFile.bad(fmt.Sprintf("%s cannot be read: %v", atFile.name(), cause(err)), "check the path and the file's rights")
		return
	}
	*secret = Secret(strings.TrimSpace(string(data)))
	if *secret == "" {
		atFile.bad(fmt.Sprintf("%s names a file with nothing in it", atFile.name()), "write the secret into the file")
	}
}

// secretSpot is where a secret stands: its own key, or that of its file.
func secretSpot(at spot) spot {
	if file := at.parent().field(at.name() + "_file"); file.given() {
		return file
	}
	return at
}
