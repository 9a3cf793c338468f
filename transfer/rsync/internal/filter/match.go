package filter

import "strings"

// matchName matches a pattern without the slash of directories against a name
// without slashes at its ends.
func matchName(pattern, name string, isDir bool) bool {
	pattern, anchored := strings.CutPrefix(pattern, "/")
	deep := strings.Contains(pattern, "**")
	if !anchored && !deep {
		// A slash may also stand in a class, which matches none.
		var ok bool
		if name, ok = lastElems(name, strings.Count(pattern, "/")+1); !ok {
			return false
		}
	}
	if !strings.ContainsAny(pattern, "*?[") {
		return pattern == name
	}
	// The slash makes "dir/***" match dir itself; "**/x" matches x at the root
	// as if a slash stood before it.
	var head, tail string
	if isDir && strings.HasSuffix(pattern, "***") {
		tail = "/"
	}
	if !anchored && strings.HasPrefix(pattern, "**") {
		head = "/"
	}
	m := matcher{pattern: pattern, floating: !anchored && deep}
	return m.match(head, name, tail)
}

// lastElems returns the last n elements of name, or false if it has fewer.
func lastElems(name string, n int) (string, bool) {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			if n--; n == 0 {
				return name[i+1:], true
			}
		}
	}
	return name, n == 1
}

// A matcher runs all ways of matching at once: states are the positions of the
// pattern that the text so far can have led to. Each byte of the text looks at
// each state once, so a hostile pattern costs their product and no more.
type matcher struct {
	pattern  string
	floating bool // a match may begin at each element of the text
}

// states are positions in rising order, none twice. With a position at a run
// of stars stands the one behind the run, as a run may be empty.
type states []int

// match reports whether the pattern matches the parts of a text in a row.
func (m *matcher) match(parts ...string) bool {
	var room [2][32]int
	now, next := states(room[0][:0]), states(room[1][:0])
	now = m.enter(now, 0)
	for _, text := range parts {
		for i := range len(text) {
			next = next[:0]
			for _, at := range now {
				next = m.step(next, at, text[i])
			}
			now, next = next, now
			if m.floating && text[i] == '/' {
				next = m.enter(next[:0], 0)
				for _, at := range now {
					next = m.enter(next, at)
				}
				now, next = next, now
			}
			if len(now) == 0 && !m.floating {
				return false
			}
		}
	}
	return len(now) > 0 && now[len(now)-1] == len(m.pattern)
}

// enter adds a position that is not before those in s, unless it is there.
func (m *matcher) enter(s states, at int) states {
	for len(s) == 0 || at > s[len(s)-1] {
		s = append(s, at)
		if at == len(m.pattern) || m.pattern[at] != '*' {
			break
		}
		at += m.stars(at)
	}
	return s
}

// step adds to s where c leads to from a position.
func (m *matcher) step(s states, at int, c byte) states {
	if at == len(m.pattern) {
		return s
	}
	switch p := m.pattern[at]; {
	case p == '*':
		if c != '/' || m.stars(at) > 1 {
			s = m.enter(s, at)
		}
	case p == '?':
		if c != '/' {
			s = m.enter(s, at+1)
		}
	case p == '[':
		if n, ok := matchClass(m.pattern[at:], c); ok && c != '/' {
			s = m.enter(s, at+n)
		}
	case p == '\\':
		if at+1 < len(m.pattern) && m.pattern[at+1] == c {
			s = m.enter(s, at+2)
		}
	case p == c:
		s = m.enter(s, at+1)
	}
	return s
}

// stars returns the length of the run of stars at a position.
func (m *matcher) stars(at int) int {
	n := 1
	for at+n < len(m.pattern) && m.pattern[at+n] == '*' {
		n++
	}
	return n
}
