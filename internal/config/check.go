package config

import (
	"fmt"
	"io"
)

// Check reads the file at path and writes to w what is wrong with it, a fault a
// line, or one line that says what it describes. It tells whether the file is
// good. It is what `weir config check FILE` does.
func Check(w io.Writer, path string) bool {
	c, err := Load(path)
	if err != nil {
		fmt.Fprintln(w, err)
		return false
	}
	fmt.Fprintf(w, "%s: ok: %s, %s, %s\n", path,
		count(len(c.PoPs), "pop"), count(len(c.Shields), "shield"), count(len(c.Sites), "site"))
	return true
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
