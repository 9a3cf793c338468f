package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// FileError says what could not be done with one file.
type FileError struct {
	Name string
	Op   string // "list", "read", "write", "verify"
	Err  error
}

func (e *FileError) Error() string {
	return fmt.Sprintf("%s %s: %v", e.Op, quote(e.Name), e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// IncompleteError says that some files of a tree could not be transferred;
// all others were. A directory stands for all that is in it.
type IncompleteError struct {
	Files  int // in the tree
	Failed []*FileError
}

func (e *IncompleteError) Error() string {
	more := ""
	if n := len(e.Failed); n > 1 {
		more = fmt.Sprintf(" (and %d more)", n-1)
	}
	return fmt.Sprintf("transfer: not everything was copied: %v%s", e.Failed[0], more)
}

func (e *IncompleteError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f
	}
	return errs
}

// opError carries which side an error came from to where the name is known.
type opError struct {
	op  string
	err error
}

func (e *opError) Error() string { return e.op + ": " + e.err.Error() }
func (e *opError) Unwrap() error { return e.err }

// fileError names the file once, whatever the layers below have put in.
func fileError(op, name string, err error) *FileError {
	if fe, ok := errors.AsType[*FileError](err); ok {
		return fe
	}
	if oe, ok := errors.AsType[*opError](err); ok {
		op, err = oe.op, oe.err
	}
	if pe, ok := err.(*fs.PathError); ok {
		err = pe.Err
	}
	return &FileError{Name: name, Op: op, Err: err}
}

// isFatal reports whether an error would meet every other file as well.
func isFatal(err error) bool {
	if oe, ok := errors.AsType[*opError](err); ok && oe.op == "write" {
		if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return true
		}
	}
	return errors.Is(err, ErrLost)
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// quote makes a name safe for a line of text.
func quote(name string) string {
	if !utf8.ValidString(name) {
		return strconv.Quote(name)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return strconv.Quote(name)
		}
	}
	return name
}
