package gintest

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/internal/filelock"
)

// ErrLocked says that another server has the folder.
var ErrLocked = errors.New("another server has the folder")

const indexName = "index"

// index is the file that has a line for each file that is held: a CRC-32C of the rest
// of the line in eight hexadecimal digits, the row of the search listing, the SHA-256,
// the size, the user and the name.
type index struct{ file *os.File }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func formatLine(f File) []byte {
	rest := fmt.Sprintf("%s %x %d %s %s", f.Entry, f.SHA256, f.Size, f.User, f.Name)
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum([]byte(rest), castagnoli), rest)
}

// parseLine reads a line with its end.
func parseLine(line []byte) (f File, ok bool) {
	text, ended := strings.CutSuffix(string(line), "\n")
	sum, rest, _ := strings.Cut(text, " ")
	crc, err := strconv.ParseUint(sum, 16, 32)
	if !ended || err != nil || uint32(crc) != crc32.Checksum([]byte(rest), castagnoli) {
		return File{}, false
	}
	fields := strings.Fields(rest)
	if len(fields) != 13 {
		return File{}, false
	}
	rows, err1 := gin.ParseListing([]byte(strings.Join(fields[:9], " ")))
	hash, err2 := hex.DecodeString(fields[9])
	size, err3 := strconv.Atoi(fields[10])
	if err1 != nil || err2 != nil || err3 != nil || len(hash) != len(f.SHA256) {
		return File{}, false
	}
	return File{Entry: rows[0], Name: fields[12], User: fields[11], Size: size, SHA256: [32]byte(hash)}, true
}

// openIndex opens or makes the index of a folder, takes its lock, and cuts off a last
// line that was not finished.
func openIndex(root *os.Root) (x *index, files []File, err error) {
	file, err := root.OpenFile(indexName, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if err := filelock.TryLock(file); errors.Is(err, filelock.ErrLocked) {
		return nil, nil, ErrLocked
	} else if err != nil {
		return nil, nil, err
	}
	if err := durable.SyncDir(root, "."); err != nil {
		return nil, nil, err
	}
	files, good, err := readIndex(file)
	if err != nil {
		return nil, nil, err
	}
	if err := file.Truncate(good); err != nil {
		return nil, nil, err
	}
	if _, err := file.Seek(good, io.SeekStart); err != nil {
		return nil, nil, err
	}
	return &index{file}, files, file.Sync()
}

// readIndex reads the lines, and returns where those that are whole end.
func readIndex(r io.Reader) (files []File, good int64, err error) {
	b := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := b.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, 0, err
		}
		if err == io.EOF {
			return files, good, nil // what has no end was never acknowledged
		}
		f, ok := parseLine(line)
		if !ok || len(files) > 0 && f.ID <= files[len(files)-1].ID {
			return nil, 0, fmt.Errorf("index: line %d is damaged", n)
		}
		files, good = append(files, f), good+int64(len(line))
	}
}

// append adds a line. It is durable when append returns nil.
func (x *index) append(f File) error {
	if _, err := x.file.Write(formatLine(f)); err != nil {
		return err
	}
	return x.file.Sync()
}

func (x *index) close() error { return x.file.Close() }
