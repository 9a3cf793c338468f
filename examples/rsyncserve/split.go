package main

import (
	"errors"
	"strings"
)

var errQuote = errors.New("the client's command has an open quote")

// split takes a command apart as a POSIX shell does, as far as rsync clients
// write one: words, quotes and backslashes. Nothing in it is expanded or run.
func split(command string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(command); i++ {
		c := command[i]
		switch {
		case quote == '\'' && c != quote, quote == '"' && c != quote && c != '\\':
			word.WriteByte(c)
		case quote != 0 && c == quote:
			quote = 0
		case c == '\'' || c == '"':
			in, quote = true, c
		case c == '\\':
			i++
			if i == len(command) {
				return nil, errQuote
			}
			if quote == '"' && !strings.ContainsRune("$`\"\\\n", rune(command[i])) {
				word.WriteByte('\\')
			}
			in = true
			word.WriteByte(command[i])
		case c == ' ' || c == '\t' || c == '\n':
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			in = true
			word.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, errQuote
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
