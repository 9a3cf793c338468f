package report

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// printable returns s with everything that could forge a line, move the
// cursor or reverse the reading order written as a Go escape: control
// characters, line and paragraph separators, directional and other invisible
// characters, and bytes that are not UTF-8. Anything else is left as it is.
func printable(s string) string {
	return escape(s, strconv.IsPrint)
}

// validUTF8 returns s with bytes that are not UTF-8 written as in printable.
func validUTF8(s string) string {
	return escape(s, func(rune) bool { return true })
}

func escape(s string, keep func(rune) bool) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !keep(r) {
			quoted := strconv.QuoteToASCII(s[i : i+size])
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// errorLines returns the text of err, a line for each error that was joined
// with errors.Join, so that a newline inside a name is not taken for one.
func errorLines(err error) []string {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var lines, texts []string
		for _, e := range joined.Unwrap() {
			lines = append(lines, errorLines(e)...)
			texts = append(texts, e.Error())
		}
		if strings.Join(texts, "\n") == err.Error() {
			return lines
		}
	}
	return []string{err.Error()}
}
