package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"time"

	"github.com/obskeep/obskeep/ingest/internal/disk"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// journal is where a feed writes down what it is about to send, before it does, and what
// became of it. What is in it is durable.
//
// A file holds a line for what was written at once: the CRC-32C of its JSON in
// hexadecimal, a space, and the JSON, a list of entries. A last line that is torn never
// was; one that is damaged elsewhere is a *DamageError, since what it said may be needed.
type journal struct {
	disk disk.Disk
	file disk.File
	size int64
	// broken is set when the end of the file is not known any more. It is read again then.
	broken error
}

const journalName, journalNew = "journal", "journal.new"

// entry is one thing that is written down. One of its parts is set.
type entry struct {
	Begin   *beginEntry   `json:"begin,omitempty"`
	Cut     *cutEntry     `json:"cut,omitempty"`
	Try     *tryEntry     `json:"try,omitempty"`
	Outcome *outcomeEntry `json:"outcome,omitempty"`
	Closed  *closedEntry  `json:"closed,omitempty"`
	Lost    *lostEntry    `json:"lost,omitempty"`
}

// beginEntry is the first of a file: what has to be known of the files before it.
type beginEntry struct {
	At      time.Time   `json:"at"`
	Next    uint64      `json:"next"` // number of the next batch
	Budget  budget      `json:"budget"`
	Since   julian.Date `json:"since"`             // the day on which the feed was begun
	Closed  julian.Date `json:"closed,omitzero"`   // the last day that is
	Refused []cutEntry  `json:"refused,omitempty"` // without their data
}

// cutEntry is a batch. It is never changed.
type cutEntry struct {
	Batch  uint64           `json:"batch"`
	At     time.Time        `json:"at"`
	Stream string           `json:"stream"`
	Day    julian.Date      `json:"day"`
	First  int              `json:"first"` // slot
	Rows   [][]sample.Value `json:"rows"`
	Repeat int              `json:"repeat,omitempty"`
	Kind   Kind             `json:"kind"`
	Name   string           `json:"name"`
	Data   []byte           `json:"data,omitempty"`
	Doubt  time.Time        `json:"doubt,omitzero"` // of a batch that was under way when the journal was begun anew
}

func (c *cutEntry) span() span { return span{c.First, c.First + len(c.Rows)} }

// tryEntry says that a batch is about to be offered, once more.
type tryEntry struct {
	Batch uint64    `json:"batch"`
	At    time.Time `json:"at"`
}

// outcomeEntry says what became of it.
type outcomeEntry struct {
	Batch   uint64    `json:"batch"`
	At      time.Time `json:"at"`
	Outcome Outcome   `json:"outcome"`
	Receipt string    `json:"receipt,omitempty"`
	Text    string    `json:"text,omitempty"`
}

// closedEntry says that of a day nothing is waited for any more.
type closedEntry struct {
	Day julian.Date `json:"day"`
}

// lostEntry says that the receiver does not have rows that it had accepted.
type lostEntry struct {
	Stream string      `json:"stream"`
	Day    julian.Date `json:"day"`
	First  int         `json:"first"`
	End    int         `json:"end"`
}

// DamageError says that an entry of a journal is damaged, and others follow it.
type DamageError struct {
	File   string
	Offset int64 // of the entry
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: the entry at byte %d is damaged; want the file from a backup, or the account begun anew with its state moved away", e.File, e.Offset)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode makes one line of entries: a crash leaves all of them, or none.
func encode(entries []entry) ([]byte, error) {
	text, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli), text), nil
}

func decode(line []byte) (entries []entry, ok bool) {
	sum, text, _ := bytes.Cut(line, []byte(" "))
	if string(sum) != fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)) {
		return nil, false
	}
	return entries, json.Unmarshal(text, &entries) == nil
}

// readJournal gives each entry of the journal to use, up to what is torn. Who goes on has
// to restart it: what is read may not be durable.
func readJournal(d disk.Disk, use func(entry)) error {
	f, err := d.Open(journalName, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	end, err := f.Size()
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	data := make([]byte, end)
	if _, err := f.ReadAt(data, 0); ignoreEOF(err) != nil {
		return fmt.Errorf("journal: %w", err)
	}
	good := 0
	for line := range bytes.Lines(data) {
		entries, ok := decode(bytes.TrimSuffix(line, []byte("\n"))) // it may be torn before that
		if !ok {
			// A file begins whole: its first line was there before its name was.
			if good == 0 || holdsEntry(data[good:]) {
				return &DamageError{journalName, int64(good)}
			}
			break
		}
		for _, e := range entries {
			use(e)
		}
		good += len(line)
	}
	if good == 0 {
		return &DamageError{journalName, 0}
	}
	return nil
}

// holdsEntry reports whether good entries end a line of what cannot be read: then it is
// not the end of what was written.
func holdsEntry(data []byte) bool {
	for line := range bytes.Lines(data) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		for i := range line {
			if i >= 8 && line[i] == ' ' {
				if _, ok := decode(line[i-8:]); ok {
					return true
				}
			}
		}
	}
	return false
}

// write adds entries. When it returns nil they are durable. After an error nobody knows
// which are: the journal has to be opened again.
func (j *journal) write(entries ...entry) error {
	if j.broken != nil {
		return j.broken
	}
	b, err := encode(entries)
	if err == nil {
		_, err = j.file.WriteAt(b, j.size)
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.broken = fmt.Errorf("journal: %w", err)
		return j.broken
	}
	j.size += int64(len(b))
	return nil
}

// restart begins a new file with these entries, in place of the old one.
func (j *journal) restart(entries []entry) (err error) {
	defer func() {
		if err != nil {
			j.broken = fmt.Errorf("journal: %w", err)
			err = j.broken
		}
	}()
	b, err := encode(entries)
	if err != nil {
		return err
	}
	f, err := j.disk.Open(journalNew, true)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = errors.Join(f.Truncate(int64(len(b))), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := j.disk.Rename(journalNew, journalName); err != nil {
		return err
	}
	if j.file != nil {
		j.file.Close() // of the old file nothing is wanted any more
	}
	if j.file, err = j.disk.Open(journalName, false); err != nil {
		return err
	}
	j.size = int64(len(b))
	return nil
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
