package transfer

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"
)

// Sum is one line of a checksum file, such as SHA256SUMS or MD5SUMS.
type Sum struct {
	Name string // as [ValidName] has it, but not "."
	Hash []byte // of the file's content
}

// SumsError says which line of a checksum file could not be read.
type SumsError struct {
	Line int // from 1
	Err  error
}

func (e *SumsError) Error() string { return fmt.Sprintf("transfer: sums, line %d: %v", e.Line, e.Err) }
func (e *SumsError) Unwrap() error { return e.Err }

// ErrDuplicate is returned for a name that a checksum file has twice.
var ErrDuplicate = errors.New("duplicate name")

// maxSumLine bounds a line of a checksum file, in bytes. A path of Linux has
// 4096 bytes, 8192 when each is escaped.
const maxSumLine = 64 << 10

// WriteSums writes a checksum file that sha256sum -c and its sisters accept,
// in the order of sums: the hash in hexadecimal digits, two spaces, the name
// (GNU coreutils manual, "md5sum invocation"). If a name holds a newline, a
// carriage return or a backslash, these are written \n, \r and \\, and the
// line begins with a backslash; all other bytes are written as they are. The
// name "-" alone is written "./-", because -c takes "-" for the standard input.
//
// WriteSums writes nothing that [ReadSums] refuses: the first error of sums,
// an ErrName, an ErrDuplicate, or a hash of another length than the first
// ends it.
func WriteSums(w io.Writer, sums iter.Seq2[Sum, error]) error {
	var list sumList
	bw := bufio.NewWriter(w)
	for sum, err := range sums {
		if err != nil {
			return err
		}
		if err := list.add(sum); err != nil {
			return fmt.Errorf("transfer: sums: %w", err)
		}
		name := sum.Name
		if name == "-" {
			name = "./-"
		}
		if strings.ContainsAny(name, "\n\r\\") {
			name = escapeSum.Replace(name)
			bw.WriteByte('\\')
		}
		// bw keeps the first error of w.
		if _, err := fmt.Fprintf(bw, "%x  %s\n", sum.Hash, name); err != nil {
			return fmt.Errorf("transfer: sums: %w", err)
		}
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("transfer: sums: %w", err)
	}
	return nil
}

// ReadSums reads a checksum file to its end: the lines of [WriteSums], with
// " *" before the name of a file read in binary mode, and the tagged form
// "SHA256 (name) = hash" of BSD and sha256sum --tag. Digits may be upper-case
// and lines may end with CR LF; empty lines and those that begin with "#" are
// skipped. A name "./a//b" is read as "a/b".
//
// Everything else is a *SumsError, the last pair. What it wraps is an ErrName
// if the name would leave the tree ("/a", "../a"), an ErrDuplicate, and
// io.ErrUnexpectedEOF if the last line does not end, as in a file that was
// cut. All hashes of a file have the same length, that of MD5, SHA-1 or a
// SHA-2. The sequence reads r, so it can be used once. It holds all names in
// memory, and lines of at most 64 KiB.
func ReadSums(r io.Reader) iter.Seq2[Sum, error] {
	return func(yield func(Sum, error) bool) {
		var list sumList
		br := bufio.NewReaderSize(r, maxSumLine)
		for n := 1; ; n++ {
			line, err := br.ReadSlice('\n')
			if err == io.EOF && len(line) == 0 {
				return
			}
			var sum Sum
			switch {
			case err == io.EOF:
				err = io.ErrUnexpectedEOF
			case err == bufio.ErrBufferFull:
				err = fmt.Errorf("longer than %d bytes", maxSumLine)
			case err == nil:
				line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
				if len(line) == 0 || line[0] == '#' {
					continue
				}
				if sum, err = parseSum(string(line)); err == nil {
					err = list.add(sum)
				}
			}
			if err != nil {
				yield(Sum{}, &SumsError{Line: n, Err: err})
				return
			}
			if !yield(sum, nil) {
				return
			}
		}
	}
}

var (
	escapeSum   = strings.NewReplacer("\\", `\\`, "\n", `\n`, "\r", `\r`)
	unescapeSum = strings.NewReplacer(`\\`, "\\", `\n`, "\n", `\r`, "\r")
)

// sumLengths has the tags of the hashes and their lengths in bytes.
var sumLengths = map[string]int{
	"MD5": 16, "SHA1": 20, "SHA224": 28, "SHA256": 32, "SHA384": 48, "SHA512": 64,
}

// parseSum reads a line without its end.
func parseSum(line string) (Sum, error) {
	line, escaped := strings.CutPrefix(line, `\`)
	digits, name, ok := strings.Cut(line, " ")
	if ok && (strings.HasPrefix(name, " ") || strings.HasPrefix(name, "*")) {
		name = name[1:]
	} else if tag, rest, isTagged := strings.Cut(line, " ("); isTagged && sumLengths[tag] > 0 {
		// A name may itself contain ") = ".
		end := strings.LastIndex(rest, ") = ")
		if end < 0 {
			return Sum{}, errors.New("no checksum line")
		}
		name, digits = rest[:end], rest[end+len(") = "):]
		if len(digits) != 2*sumLengths[tag] {
			return Sum{}, fmt.Errorf("%d digits are no %s", len(digits), tag)
		}
	} else {
		return Sum{}, errors.New("no checksum line")
	}
	hash, err := hex.DecodeString(digits)
	if err != nil {
		return Sum{}, err
	}
	if escaped {
		plain := unescapeSum.Replace(name)
		if escapeSum.Replace(plain) != name {
			return Sum{}, fmt.Errorf("invalid escape in %q", name)
		}
		name = plain
	}
	// What Clean would hide; the rest of an invalid name it leaves for add.
	if strings.HasSuffix(name, "/") || slices.Contains(strings.Split(name, "/"), "..") {
		return Sum{}, fmt.Errorf("%w %q", ErrName, name)
	}
	return Sum{Name: path.Clean(name), Hash: hash}, nil
}

// sumList knows what a checksum file holds so far.
type sumList struct {
	names  map[string]struct{}
	length int // of a hash, in bytes
}

func (l *sumList) add(s Sum) error {
	if s.Name == "." {
		return fmt.Errorf("%w %q", ErrName, s.Name)
	}
	if err := ValidName(s.Name); err != nil {
		return err
	}
	if l.names == nil {
		known := false
		for _, n := range sumLengths {
			known = known || n == len(s.Hash)
		}
		if !known {
			return fmt.Errorf("a hash of %d bytes", len(s.Hash))
		}
		l.names, l.length = make(map[string]struct{}), len(s.Hash)
	}
	if len(s.Hash) != l.length {
		return fmt.Errorf("a hash of %d bytes after one of %d", len(s.Hash), l.length)
	}
	if _, ok := l.names[s.Name]; ok {
		return fmt.Errorf("%w %q", ErrDuplicate, s.Name)
	}
	l.names[s.Name] = struct{}{}
	return nil
}
