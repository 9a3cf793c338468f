// Package sampletest is what the tests of the formats share.
package sampletest

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/sample"
)

// RealFiles returns a folder of real files and of the receiver's verdicts on some,
// which are not ours to pass on: the folder geomag in OBSKEEP_TESTDATA. Without that the test
// is skipped. The names of such tests have RealFile in them.
func RealFiles(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("OBSKEEP_TESTDATA")
	if dir == "" {
		t.Skip("OBSKEEP_TESTDATA names no folder of real files")
	}
	return filepath.Join(dir, "geomag")
}

// Table reads a file of tab-separated columns without its first line.
func Table(t testing.TB, name string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		rows = append(rows, strings.Split(strings.TrimRight(line, "\n"), "\t"))
	}
	return rows[1:]
}

// Reader reads rows.
type Reader interface{ Read() (sample.Row, error) }

// ReadAll reads all rows up to the end, which is no error.
func ReadAll(r Reader) (rows []sample.Row, err error) {
	for {
		row, err := r.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
}

// Rewrite writes all rows that r reads. It closes the writer.
func Rewrite(r Reader, w interface {
	Write(sample.Row) error
	Close() error
}) error {
	rows, err := ReadAll(r)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := w.Write(row); err != nil {
			return err
		}
	}
	return w.Close()
}
