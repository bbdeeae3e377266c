package purgecli

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir/purge"
)

// TokenOptions say what a new token may. Name, Sites and Scopes are required.
type TokenOptions struct {
	Name string
	// Sites and Scopes are names, or "*" alone.
	Sites, Scopes []string
	// Expires is how long it holds, such as 720h, or until when, as 2027-01-31 or
	// in the form of RFC 3339; "" for ever.
	Expires string
}

// everything in place of names stands for all of them.
const everything = "*"

var (
	tokenName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	siteName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$|^\*$`)
)

func (o *TokenOptions) check() error {
	if !tokenName.MatchString(o.Name) || o.Name == "api" {
		return fmt.Errorf("name %.64q: write up to 63 of a-z, 0-9 and -; api is taken", o.Name)
	}
	if len(o.Sites) == 0 || len(o.Scopes) == 0 {
		return errors.New("a token needs the sites and scopes that it is for, or * for all")
	}
	for _, site := range o.Sites {
		if !siteName.MatchString(site) || site == everything && len(o.Sites) > 1 {
			return fmt.Errorf("site %.64q is no name of a site, nor * alone", site)
		}
	}
	for _, name := range o.Scopes {
		var scope purge.Scope
		if err := scope.UnmarshalText([]byte(name)); err != nil && (name != everything || len(o.Scopes) > 1) {
			return err
		}
	}
	if slices.Contains(o.Scopes, purge.ScopeAll.String()) && !slices.Contains(o.Sites, everything) {
		return errors.New("scope all is every site: give --site '*', or --scope site")
	}
	return nil
}

// ends gives when the token expires; zero for never.
func (o *TokenOptions) ends(now time.Time) (time.Time, error) {
	if o.Expires == "" {
		return time.Time{}, nil
	}
	if span, err := time.ParseDuration(o.Expires); err == nil && span > 0 {
		return now.Add(span).UTC().Truncate(time.Second), nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(form, o.Expires); err == nil {
			if !at.After(now) {
				return at, fmt.Errorf("expires %s is over", o.Expires)
			}
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("expires %.64q: write a span such as 720h, or a day such as 2027-01-31", o.Expires)
}

// CreateToken draws a token and prints it, once, with the lines by which control
// knows it. Nothing else keeps it.
func CreateToken(o TokenOptions, now time.Time, w io.Writer) error {
	if err := o.check(); err != nil {
		return fmt.Errorf("create token: %w", err)
	}
	ends, err := o.ends(now)
	if err != nil {
		return fmt.Errorf("create token: %w", err)
	}
	secret := purge.NewToken()
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nThis is shown once. Control knows the token by these lines, in the configuration:\n\n", secret)
	fmt.Fprintf(&b, "control:\n  tokens:\n    - name: %q\n      hash: %q\n", o.Name, purge.HashToken(secret))
	fmt.Fprintf(&b, "      sites: %s\n      scopes: %s\n", list(o.Sites), list(o.Scopes))
	if !ends.IsZero() {
		fmt.Fprintf(&b, "      expires: %q\n", ends.Format(time.RFC3339))
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func list(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
