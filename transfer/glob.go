package transfer

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// ErrPattern is returned for a pattern that is not well formed.
var ErrPattern = errors.New("invalid pattern")

// ValidPattern returns nil if p is a pattern for Include and Exclude, else an
// ErrPattern. A pattern is matched as by path.Match; the element "**" stands
// for any number of elements. One without a slash is matched against
// the last element of a name, at any depth; one with a slash against the
// whole name below From. One that ends in a slash matches directories only.
func ValidPattern(p string) error {
	if err := validPatterns([]string{p}); err != nil {
		return fmt.Errorf("transfer: %w", err)
	}
	return nil
}

func validPatterns(patterns []string) error {
	for _, p := range patterns {
		for elem := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
			if _, err := path.Match(elem, ""); err != nil || elem == "" {
				return fmt.Errorf("%w %q", ErrPattern, p)
			}
		}
	}
	return nil
}

// matchAny reports whether one of the valid patterns matches name.
func matchAny(patterns []string, name string, isDir bool) bool {
	for _, p := range patterns {
		dirOnly := strings.HasSuffix(p, "/")
		if dirOnly && !isDir {
			continue
		}
		p = strings.TrimSuffix(p, "/")
		if !strings.Contains(p, "/") {
			if ok, _ := path.Match(p, path.Base(name)); ok {
				return true
			}
			continue
		}
		if matchElems(strings.Split(strings.TrimPrefix(p, "/"), "/"), strings.Split(name, "/")) {
			return true
		}
	}
	return false
}

func matchElems(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := range len(name) + 1 {
				if matchElems(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, _ := path.Match(pattern[0], name[0]); !ok {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}
