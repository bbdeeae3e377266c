package scenario

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"
)

// args are a command's arguments. What is read is remembered, so that check
// can name a misspelt one; the first error is kept for it too.
type args struct {
	data *datadriven.TestData
	used map[string]bool
	err  error
}

// check says what was wrong with the arguments.
func (a *args) check() error {
	if a.err != nil {
		return a.err
	}
	for _, arg := range a.data.CmdArgs {
		if !a.used[arg.Key] {
			return fmt.Errorf("argument %q is not known here", arg.Key)
		}
	}
	return nil
}

// text is the one value of key, or fallback.
func (a *args) text(key, fallback string) string {
	a.used[key] = true
	arg, given := a.data.Arg(key)
	switch {
	case !given:
		return fallback
	case len(arg.Vals) != 1:
		a.fail(key, errors.New("wants one value"))
		return fallback
	}
	return strings.TrimSpace(arg.Vals[0])
}

// list are the values of key.
func (a *args) list(key string) []string {
	a.used[key] = true
	arg, _ := a.data.Arg(key)
	return arg.Vals
}

// flag says whether key is there, without a value.
func (a *args) flag(key string) bool {
	a.used[key] = true
	return a.data.HasArg(key)
}

func (a *args) duration(key string) time.Duration {
	d, err := time.ParseDuration(a.text(key, "0s"))
	a.fail(key, err)
	return d
}

func (a *args) number(key string, fallback int) int {
	n, err := strconv.Atoi(a.text(key, strconv.Itoa(fallback)))
	a.fail(key, err)
	return n
}

// bytes is a size: "512", "64KiB" or "1MiB".
func (a *args) bytes(key string) int {
	text, unit := a.text(key, "0"), 1
	for suffix, size := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		if number, found := strings.CutSuffix(text, suffix); found {
			text, unit = number, size
		}
	}
	n, err := strconv.Atoi(text)
	a.fail(key, err)
	return n * unit
}

// word is the one argument without a value that nobody has asked for yet.
func (a *args) word() (string, error) {
	for _, arg := range a.data.CmdArgs {
		if len(arg.Vals) == 0 && !a.used[arg.Key] {
			a.used[arg.Key] = true
			return arg.Key, nil
		}
	}
	return "", errors.New("wants a word after the command")
}

func (a *args) fail(key string, err error) {
	if err != nil && a.err == nil {
		a.err = fmt.Errorf("%s: %w", key, err)
	}
}
