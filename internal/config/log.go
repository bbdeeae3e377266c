package config

import (
	"fmt"
	"log/slog"
)

// Log says what a process writes to its standard error.
type Log struct {
	Level  slog.Level `yaml:"level"`  // debug, info (default), warn or error
	Format LogFormat  `yaml:"format"` // text (default) or json
	Access bool       `yaml:"access"` // one line a request; default true
}

// LogFormat is how a log line is written.
type LogFormat string

// The two forms of a log line: slog's key=value text, and a JSON object.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func (l *Log) setDefaults() { *l = Log{Level: slog.LevelInfo, Format: LogText, Access: true} }

func (f *LogFormat) parse(text string) (problem, fix string) {
	switch LogFormat(text) {
	case LogText, LogJSON:
		*f = LogFormat(text)
		return "", ""
	}
	return fmt.Sprintf("%q is not a format", text), "write text or json"
}
