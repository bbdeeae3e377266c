// Package ready is the file in which a running lab says where everything
// listens, for scripts and for weir's own commands in other terminals.
package ready

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// ErrNoLab says that there is no file where one was looked for.
var ErrNoLab = errors.New("no lab is running")

// fileBytesMax bounds a file that is read; one of twelve PoPs has about 2 KB.
const fileBytesMax = 1 << 20

// File is what a lab says of itself, as one JSON object. URLs have no path.
type File struct {
	// Site is the name of the one site.
	Site string `json:"site"`
	// Origin, Shield, Control and Router are base URLs. Shield is the first of
	// Shields.
	Origin  string   `json:"origin"`
	Shield  string   `json:"shield"`
	Shields []string `json:"shields,omitempty"`
	Control string   `json:"control"`
	// Token is the bearer token of control's API: the file is for its owner's
	// eyes only.
	Token  string `json:"token"`
	Router string `json:"router"`
	// CAFile is the path of the certificate, in PEM, that signs the PoPs' own.
	CAFile string `json:"ca_file"`
	PoPs   []PoP  `json:"pops"`
	// S3 is the bucket that has the site, and the keys to it; nil where the
	// origin is no bucket.
	S3 *S3 `json:"s3,omitempty"`
	// PID is the process that wrote the file; Write sets it.
	PID int `json:"pid,omitempty"`
}

// PoP is one place of the lab. The last three are base URLs.
type PoP struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	HTTP   string `json:"http"`
	HTTPS  string `json:"https"`
	Admin  string `json:"admin"`
}

// S3 is a bucket. Its Endpoint is "host:port".
type S3 struct {
	Endpoint  string `json:"endpoint"`
	Bucket    string `json:"bucket"`
	Prefix    string `json:"prefix,omitempty"`
	Region    string `json:"region,omitempty"`
	AccessKey string `json:"access_key"`
	SecretKey Secret `json:"secret_key"`
	Secure    bool   `json:"secure,omitempty"`
}

// Secret is text that the file has and nothing else shows: however it is printed
// it reads REDACTED.
type Secret string

// Format answers every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "REDACTED") }

// LogValue is for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue("REDACTED") }

// DefaultPath is where a lab leaves its file for commands that are not told
// another place: weir/lab.json in the user's cache folder. It is "" where the
// user has none.
func DefaultPath() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "weir", "lab.json")
}

// Write puts the file at path, whole or not at all, with this process as its
// PID and readable by its owner alone. It makes the folder if that is missing.
func (f File) Write(path string) error {
	f.PID = os.Getpid()
	if f.PoPs == nil {
		f.PoPs = []PoP{}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(f)
	if err == nil {
		err = writeWhole(path, text.Bytes())
	}
	if err != nil {
		return fmt.Errorf("write ready file %s: %w", path, err)
	}
	return nil
}

// writeWhole writes beside the place and moves: a reader who polls for the
// file never sees a part of it.
func writeWhole(path string, text []byte) error {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, "."+name+".*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(text)
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	return err
}

// Read reads the file at path. The error is ErrNoLab, with what to do about
// it, where there is none; path "" stands for a DefaultPath that this user does
// not have.
func Read(path string) (File, error) {
	text, err := readBounded(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return File{}, fmt.Errorf("%w (looked for %s): start one with `weir lab`, or give --ready-file, or --control and --token",
			ErrNoLab, describe(path))
	}
	if err != nil {
		return File{}, fmt.Errorf("read ready file: %w", err)
	}
	f, err := decode(text)
	if err != nil {
		return File{}, fmt.Errorf("read ready file %s: %w", path, err)
	}
	return f, nil
}

func describe(path string) string {
	if path == "" {
		return "a file in the user's cache folder, of which there is none"
	}
	return path
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, fileBytesMax+1))
}

// decode takes one JSON object. It allows keys that it does not know: a newer
// lab may say more.
func decode(text []byte) (File, error) {
	var f File
	if len(text) > fileBytesMax {
		return f, fmt.Errorf("more than %d bytes", fileBytesMax)
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return File{}, fmt.Errorf("not a ready file: %w", err)
	}
	if f.Site == "" || f.Control == "" {
		return File{}, errors.New("not a ready file: site or control is missing")
	}
	return f, nil
}

// RemoveIfOwn removes the file at path if this process wrote it, and leaves
// that of another lab, which came later, in its place. That there is none is no
// error.
func RemoveIfOwn(path string) error {
	text, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove ready file: %w", err)
	}
	if f, err := decode(text); err != nil || f.PID != os.Getpid() {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove ready file: %w", err)
	}
	return nil
}
