package script

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/obskeep/obskeep/internal/units"
)

// ReadConfig reads a TOML file into v, a pointer to a struct with the
// defaults. A key that v does not have is an error that names its line, as
// is everything else: a slip must not turn a setting into its default.
func ReadConfig(file string, v any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return &UsageError{fmt.Errorf("config %s: %w", file, err)}
	}
	md, err := toml.Decode(string(text), v)
	if pe, ok := errors.AsType[toml.ParseError](err); ok {
		return &UsageError{fmt.Errorf("config %s:%d: %s", file, pe.Position.Line, oneLine(pe.Message, pe.LastKey))}
	}
	if err != nil {
		return &UsageError{fmt.Errorf("config %s: %w", file, err)}
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		key := unknown[0]
		return &UsageError{fmt.Errorf("config %s:%d: unknown key %q", file, lineOf(string(text), key), key.String())}
	}
	return nil
}

func oneLine(message, key string) string {
	message = strings.Join(strings.Fields(message), " ")
	if key != "" && !strings.Contains(message, key) {
		return key + ": " + message
	}
	return message
}

// lineOf finds the line of a key that was read: the reader does not tell.
func lineOf(text string, key toml.Key) int {
	table, name := strings.Join(key[:len(key)-1], "."), key[len(key)-1]
	current := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if head, ok := strings.CutPrefix(line, "["); ok {
			current = strings.Trim(head, "[] ")
			if current == key.String() {
				return i + 1
			}
			continue
		}
		left, _, ok := strings.Cut(line, "=")
		left = strings.Trim(strings.TrimSpace(left), `"'`)
		if ok && (current == table && left == name || current == "" && left == key.String()) {
			return i + 1
		}
	}
	return 1
}

// Size is a number of bytes as people write it: "2 MiB".
type Size int64

// UnmarshalText implements encoding.TextUnmarshaler. A number without a unit is
// an error: few mean so many bytes.
func (s *Size) UnmarshalText(text []byte) error {
	if _, err := strconv.ParseFloat(string(text), 64); err == nil {
		return fmt.Errorf("size %s has no unit: want 20 GiB, for example", text)
	}
	n, err := units.ParseBytes(string(text))
	if err == nil {
		*s = Size(n)
	}
	return err
}

// Duration is a length of time as people write it: "10m". A number without a
// unit is an error, not nanoseconds.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err == nil {
		*d = Duration(v)
	}
	return err
}

// StateDir is where a program keeps what it must not forget: STATE_DIRECTORY
// as systemd sets it, /var/lib/obskeep for root, else obskeep in
// XDG_STATE_HOME or ~/.local/state.
func StateDir() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		dir, _, _ = strings.Cut(dir, ":")
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/obskeep"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "obskeep")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "obskeep")
	}
	return filepath.Join(home, ".local", "state", "obskeep")
}
