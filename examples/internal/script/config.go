package script

import (
	"encoding"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/obskeep/obskeep/internal/units"
)

// Config is a configuration: a pointer to a struct with the defaults.
type Config interface {
	// Check returns what is wrong with the values, and fills in what follows from them.
	Check() error
}

// ReadConfig reads a TOML file into v, and checks it. A key that v does not have is
// an error that names its line, as is everything else: a slip must not turn a
// setting into its default.
func ReadConfig(file string, v Config) error {
	if err := decode(file, v); err != nil {
		return err
	}
	if err := v.Check(); err != nil {
		return &UsageError{fmt.Errorf("config %s: %w", file, err)}
	}
	return nil
}

func decode(file string, v any) error {
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
		return &UsageError{fmt.Errorf("config %s%w", file, wrongKind(string(text), md.Keys(), v))}
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		key := unknown[0]
		return &UsageError{fmt.Errorf("config %s:%d: unknown key %q", file, lineOf(string(text), key, 0), key.String())}
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

// wrongKind finds the value that is not of the kind that v has in its place,
// which is all that the reader can still complain of once it knows the keys.
// The error begins with the colon after the file's name.
func wrongKind(text string, keys []toml.Key, v any) error {
	var top map[string]any
	if _, err := toml.Decode(text, &top); err != nil {
		return fmt.Errorf(": %w", err)
	}
	before := map[string]int{} // how often a key has come: in a list of tables it comes in each
	for _, key := range keys {
		nth := before[key.String()]
		before[key.String()]++
		t := reflect.TypeOf(v).Elem()
		for _, name := range key {
			if t = fieldType(t, name); t == nil {
				break
			}
		}
		values := valuesOf(top, key)
		if t == nil || nth >= len(values) {
			continue // an unknown key, below one of the wrong kind for example; or the next of a list of tables
		}
		if want := wanted(values[nth], t); want != "" {
			return fmt.Errorf(":%d: %s: want %s, not %s", lineOf(text, key, nth), key, want, kindOf(values[nth]))
		}
	}
	return errors.New(": a value is not of the kind that its key wants")
}

// valuesOf are the values of a key: several if it leads through lists of tables.
func valuesOf(value any, key toml.Key) []any {
	if len(key) == 0 {
		return []any{value}
	}
	switch value := value.(type) {
	case map[string]any:
		if below, ok := value[key[0]]; ok {
			return valuesOf(below, key[1:])
		}
	case []map[string]any:
		var all []any
		for _, table := range value {
			all = append(all, valuesOf(table, key)...)
		}
		return all
	}
	return nil
}

// fieldType is the type of the field that is named so in a configuration, or in each
// table of a list of them, nil if there is none.
func fieldType(t reflect.Type, name string) reflect.Type {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range reflect.VisibleFields(t) {
		if strings.EqualFold(f.Tag.Get("toml"), name) { // as the reader does
			if f.Type.Kind() == reflect.Pointer {
				return f.Type.Elem()
			}
			return f.Type
		}
	}
	return nil
}

// wanted is what kind of value a type wants, or "" if it is one.
func wanted(value any, t reflect.Type) string {
	kind := kindOf(value)
	_, isText := reflect.New(t).Interface().(encoding.TextUnmarshaler)
	switch {
	case isText:
		switch value.(type) {
		case []any, map[string]any, []map[string]any:
			return aText
		} // it says itself what is wrong with a number
	case t.Kind() == reflect.String && kind != aText:
		return aText
	case t.Kind() == reflect.Bool && kind != aBool:
		return aBool
	case t.Kind() == reflect.Int && kind != aNumber:
		return aNumber
	case t.Kind() == reflect.Struct && kind != aTable:
		return aTable
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		if _, ok := value.([]map[string]any); !ok {
			return aList + " of tables, each with its name in double brackets"
		}
	case t.Kind() == reflect.Slice:
		list, ok := value.([]any)
		if !ok || slices.ContainsFunc(list, func(elem any) bool { return wanted(elem, t.Elem()) != "" }) {
			return aList + ` such as ["one", "two"]`
		}
	}
	return ""
}

// Kinds of values in plain words.
const (
	aText     = "a text in quotes"
	aNumber   = "a whole number"
	aFraction = "a number with a fraction"
	aBool     = "true or false"
	aDate     = "a date"
	aList     = "a list"
	aTable    = "a table"
)

func kindOf(value any) string {
	switch value := value.(type) {
	case string:
		return aText
	case int64:
		return aNumber
	case float64:
		return aFraction
	case bool:
		return aBool
	case time.Time:
		return aDate
	case []any:
		for _, elem := range value {
			if kind := kindOf(elem); kind != aText {
				return aList + " with " + kind + " in it"
			}
		}
		return aList
	case []map[string]any:
		return aList + " of tables"
	}
	return aTable
}

// lineOf finds the line of the nth key of a name that was read, from 0 on: the reader does
// not tell.
func lineOf(text string, key toml.Key, nth int) int {
	found := func() bool {
		nth--
		return nth < 0
	}
	table, name := strings.Join(key[:len(key)-1], "."), key[len(key)-1]
	current := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if head, ok := strings.CutPrefix(line, "["); ok {
			current = strings.Trim(head, "[] ")
			if current == key.String() && found() {
				return i + 1
			}
			continue
		}
		left, _, ok := strings.Cut(line, "=")
		left = strings.Trim(strings.TrimSpace(left), `"'`)
		if ok && (current == table && left == name || current == "" && left == key.String()) && found() {
			return i + 1
		}
	}
	if len(key) > 1 {
		return lineOf(text, key[:len(key)-1], 0) // in an inline table
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
	if err != nil {
		return fmt.Errorf(`want a duration such as "10m" or "1h30m", not %s`, text)
	}
	*d = Duration(v)
	return nil
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
