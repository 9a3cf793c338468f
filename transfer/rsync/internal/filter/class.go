package filter

import "strings"

// matchClass matches c against the class that p begins with, "[...]", and
// returns the length of the class. A class without its end matches nothing.
func matchClass(p string, c byte) (n int, ok bool) {
	i := 1
	negate := i < len(p) && (p[i] == '!' || p[i] == '^')
	if negate {
		i++
	}
	// "]" at the beginning stands for itself.
	for first := true; i < len(p) && (first || p[i] != ']'); first = false {
		if strings.HasPrefix(p[i:], "[:") {
			if name, _, found := strings.Cut(p[i+2:], ":]"); found && !strings.Contains(name, "]") {
				is, known := named[name]
				if !known {
					return 0, false
				}
				ok = ok || is(c)
				i += len(name) + 4
				continue
			}
		}
		var lo, hi byte
		if lo, i = quoted(p, i); i == 0 {
			return 0, false
		}
		hi = lo
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			if hi, i = quoted(p, i+1); i == 0 {
				return 0, false
			}
		}
		// The first byte of a range is in it even if the range is upside down.
		ok = ok || c == lo || lo <= c && c <= hi
	}
	if i >= len(p) {
		return 0, false
	}
	return i + 1, ok != negate
}

// quoted returns the byte at i, or the one that a backslash there quotes, and
// the index behind it; 0 if the pattern ends before.
func quoted(p string, i int) (byte, int) {
	if p[i] == '\\' {
		i++
	}
	if i >= len(p) {
		return 0, 0
	}
	return p[i], i + 1
}

// named are the classes of POSIX, for ASCII: other bytes are in none.
var named = map[string]func(byte) bool{
	"alnum":  func(c byte) bool { return isAlpha(c) || isDigit(c) },
	"alpha":  isAlpha,
	"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
	"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
	"digit":  isDigit,
	"graph":  isGraph,
	"lower":  isLower,
	"print":  func(c byte) bool { return c == ' ' || isGraph(c) },
	"punct":  func(c byte) bool { return isGraph(c) && !isAlpha(c) && !isDigit(c) },
	"space":  func(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' },
	"upper":  isUpper,
	"xdigit": func(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' },
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isAlpha(c byte) bool { return isLower(c) || isUpper(c) }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isGraph(c byte) bool { return '!' <= c && c <= '~' }
