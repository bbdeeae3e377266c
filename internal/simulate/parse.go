package simulate

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// objectBytesMax is the largest object that a trace may name.
const objectBytesMax = 1 << 50

var (
	errPlain = errors.New("want `time id size`")
	errLog   = errors.New("want an access log's line: … [time] \"GET /path HTTP/1.1\" status bytes …")
)

// parsePlain reads `time id size`. The time, in seconds, is only checked: the
// order of lines is the order of requests.
func parsePlain(line []byte) (request, error) {
	var fields [3][]byte
	rest := line
	for i := range fields {
		fields[i], rest = cutField(rest)
	}
	if len(fields[2]) == 0 || len(rest) > 0 {
		return request{}, errPlain
	}
	if seconds, err := strconv.ParseFloat(string(fields[0]), 64); err != nil || math.IsNaN(seconds) {
		return request{}, fmt.Errorf("time %.32q is not a number of seconds: %w", fields[0], errPlain)
	}
	size, err := parseBytes(fields[2])
	return request{id: fields[1], bytes: size}, err
}

// parseLog reads a line of the common or the combined log format. The target is
// the object's name, query included.
func parseLog(line []byte) (request, error) {
	_, rest, found := bytes.Cut(line, []byte("] \""))
	if !found {
		return request{}, errLog
	}
	quoted, rest, found := cutQuoted(rest)
	if !found {
		return request{}, errLog
	}
	method, target := cutField(quoted)
	target = cutProtocol(target)
	status, rest := cutField(rest)
	size, _ := cutField(rest)
	if len(size) == 0 || len(status) != 3 {
		return request{}, errLog
	}
	code, err := strconv.Atoi(string(status))
	if err != nil {
		return request{}, errLog
	}
	q := request{id: target, bytes: -1, part: true}
	get, head := string(method) == "GET", string(method) == "HEAD"
	switch {
	case !get && !head, !forCache(code), len(target) == 0: // what servers log of bytes that are no request, too
		q.pass = true
	case head, code == 304, string(size) == "-":
	default:
		q.bytes, err = parseBytes(size)
	}
	return q, err
}

// forCache says whether an answer of this status may be an object, or says that
// the client has it already.
func forCache(status int) bool {
	switch status {
	case 301, 304, 308, 404, 410:
		return true
	default:
		return status >= 200 && status < 300
	}
}

func parseBytes(text []byte) (int64, error) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 || n > objectBytesMax {
		return 0, fmt.Errorf("size %.32q is not a number of bytes up to %d", text, int64(objectBytesMax))
	}
	return n, nil
}

// cutProtocol gives what is before the last blank, if that is where the protocol begins:
// a target with blanks in it is what some client has sent.
func cutProtocol(target []byte) []byte {
	if at := bytes.LastIndexAny(target, " \t"); at >= 0 && bytes.HasPrefix(target[at+1:], []byte("HTTP/")) {
		target = target[:at]
	}
	return bytes.TrimRight(target, " \t")
}

// cutField gives the text up to the next blanks, and what is behind them.
func cutField(text []byte) (field, rest []byte) {
	end := bytes.IndexAny(text, " \t")
	if end < 0 {
		return text, nil
	}
	return text[:end], bytes.TrimLeft(text[end:], " \t")
}

// cutQuoted gives what is before the next quotation mark, not counting those
// behind a backslash, and what is behind it and the blanks that follow.
func cutQuoted(text []byte) (quoted, rest []byte, found bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return text[:i], bytes.TrimLeft(text[i+1:], " \t"), true
		}
	}
	return nil, nil, false
}
