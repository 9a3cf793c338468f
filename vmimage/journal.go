package vmimage

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/internal/filelock"
)

// Journal is a folder in which engines write down what they are about to do to a
// machine, before they do it, and what they have done. Each machine has a file of
// its own, which is also its lock. It is safe for concurrent use, and by several
// processes.
//
// A file holds a line for each entry: the CRC-32C of its JSON in hexadecimal, a
// space, the JSON. A line that is torn or damaged counts for nothing.
type Journal struct {
	root  *os.Root
	owner string

	mu     sync.Mutex
	open   map[*ledger]bool
	closed bool
}

// ErrLocked is returned for a machine that another engine is at work on.
var ErrLocked = errors.New("another run is at work on it")

const (
	ownerFile  = "owner"
	ledgerName = ".journal" // after the UUID
)

// OpenJournal opens the journal in a folder, which is made if it is not there. It
// must be on a disk that outlives a reboot.
func OpenJournal(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("vmimage: journal: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("vmimage: journal: %w", err)
	}
	owner, err := root.ReadFile(ownerFile)
	if errors.Is(err, fs.ErrNotExist) {
		owner = []byte(rand.Text())
		err = durable.WriteFile(root, ownerFile, owner, 0o600)
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("vmimage: journal: %w", err)
	}
	return &Journal{root: root, owner: string(owner), open: make(map[*ledger]bool)}, nil
}

// Close gives up all locks. What was not settled stays so, for the next engine.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	for l := range j.open {
		l.file.Close()
	}
	return j.root.Close()
}

// machines are the UUIDs of all machines that have a file.
func (j *Journal) machines() ([]string, error) {
	dir, err := j.root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("vmimage: journal: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("vmimage: journal: %w", err)
	}
	var machines []string
	for _, name := range names {
		if uuid, ok := strings.CutSuffix(name, ledgerName); ok {
			machines = append(machines, uuid)
		}
	}
	slices.Sort(machines)
	return machines, nil
}

// ledger is the file of one machine, locked.
type ledger struct {
	journal *Journal
	file    *os.File
	entries []entry
	torn    bool // the file does not end with a whole line
	damaged bool // an entry before its last is
	log     *slog.Logger
}

// entry is a line of a ledger.
type entry struct {
	At    time.Time `json:"at"`
	Step  string    `json:"step"`
	Disk  string    `json:"disk,omitempty"`  // of a step that is about one
	Done  bool      `json:"done"`            // else it is about to begin
	Begin *begin    `json:"begin,omitempty"` // of the step of that name
}

// begin is what has to be known to settle a machine, whatever happens next.
type begin struct {
	UUID  string  `json:"uuid"`
	Name  string  `json:"name"`
	Image string  `json:"image"` // ID
	Ran   bool    `json:"ran"`   // it ran before, so it has to run again
	Disks []chain `json:"disks"`
}

// chain is a disk, and the overlay it may have for a while.
type chain struct {
	Disk    string `json:"disk"`
	Base    string `json:"base"` // path
	Format  string `json:"format"`
	Block   bool   `json:"block,omitempty"` // the base is a block device
	Overlay string `json:"overlay"`         // path
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// lockPatience is how long the lock of a file is waited for: a program that is being started by
// this one has it for a moment after it was given up.
const lockPatience = 500 * time.Millisecond

// lock opens and locks the file of a machine. The caller closes it.
func (j *Journal) lock(uuid string, log *slog.Logger) (*ledger, error) {
	f, err := j.root.OpenFile(uuid+ledgerName, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	l := &ledger{journal: j, file: f, log: log}
	err = l.lock()
	if err == nil {
		err = l.read()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		f.Close()
		return nil, fmt.Errorf("journal: %w", fs.ErrClosed)
	}
	j.open[l] = true
	return l, nil
}

func (l *ledger) close() {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	l.file.Close()
	delete(l.journal.open, l)
}

func (l *ledger) lock() error {
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 20) {
		err := filelock.TryLock(l.file)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, filelock.ErrLocked):
			return fmt.Errorf("journal: lock %s: %w", l.file.Name(), err)
		case !time.Now().Before(end):
			return ErrLocked
		}
	}
}

func (l *ledger) read() error {
	data, err := io.ReadAll(l.file)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	l.torn = len(data) > 0 && data[len(data)-1] != '\n'
	for line := range bytes.Lines(data) {
		sum, text, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		var e entry
		if string(sum) != checksum(text) || json.Unmarshal(text, &e) != nil {
			l.log.Warn("journal: damaged entry", "file", l.file.Name(), "entry", string(line))
			l.damaged = l.damaged || bytes.HasSuffix(line, []byte("\n"))
			continue
		}
		l.entries = append(l.entries, e)
	}
	return nil
}

func checksum(text []byte) string { return fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)) }

// begin forgets what was settled before and writes down a new begin.
func (l *ledger) begin(b begin, at time.Time) error {
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	l.entries, l.torn, l.damaged = nil, false, false
	if err := l.write(entry{At: at, Step: stepBegin, Done: true, Begin: &b}); err != nil {
		return err
	}
	if err := durable.SyncDir(l.journal.root, "."); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// write adds an entry, which is on the disk when it returns nil.
func (l *ledger) write(e entry) error {
	l.log.Debug("journal", "step", e.Step, "done", e.Done, "written", false)
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	line := checksum(text) + " " + string(text) + "\n"
	if l.torn {
		line = "\n" + line
	}
	l.torn = true // until all of it is known to be there
	if _, err := l.file.WriteString(line); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	l.torn = false
	l.entries = append(l.entries, e)
	l.log.Debug("journal", "step", e.Step, "done", e.Done, "written", true)
	return nil
}

// unsettled returns the begin that has no end; nil if there is none.
func (l *ledger) unsettled() *begin {
	if end, _ := l.last(stepBegin, stepEnd); end.Step == stepEnd && end.Done {
		return nil
	}
	return l.newest()
}

// newest returns the last begin, whether it has an end or not; nil if there is none.
func (l *ledger) newest() *begin {
	e, _ := l.last(stepBegin)
	return e.Begin
}

// late reports whether all is in order but that the guest may shut down yet, long after it was
// asked to.
func (l *ledger) late() bool {
	end, ok := l.last(stepBegin, stepEnd)
	return ok && end.Step == stepEnd && !end.Done
}

// last returns the last entry of any of the steps.
func (l *ledger) last(steps ...string) (entry, bool) {
	for _, e := range slices.Backward(l.entries) {
		if slices.Contains(steps, e.Step) {
			return e, true
		}
	}
	return entry{}, false
}

// did reports whether the step was completed.
func (l *ledger) did(step string) bool {
	return slices.ContainsFunc(l.entries, func(e entry) bool { return e.Step == step && e.Done })
}

// pivot reports whether the machine may write to the base of a disk again, and whether it is known to.
func (l *ledger) pivot(disk string) (begun, done bool) {
	for _, e := range l.entries {
		if e.Step == stepPivot && e.Disk == disk {
			begun, done = true, done || e.Done
		}
	}
	return begun, done
}
