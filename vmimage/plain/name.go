package plain

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// partialPrefix begins the name of a folder that is not yet, or no longer, an image.
const partialPrefix = ".partial-"

// Name is the name of an image's folder below that of a Target, with a slash in it.
func Name(machine, id string) string { return path.Join(folderOf(machine), id) }

// ParseName is the machine of a folder such as "web01", and the ID too of one such as
// "web01/2026-268T0200Z". ok is false if the folder is of somebody else.
func ParseName(name string) (machine, id string, ok bool) {
	folder, id, below := strings.Cut(name, "/")
	machine, ok = machineOf(folder)
	return machine, id, ok && (!below || validID(id))
}

// folderOf is the name of a machine's folder: letters and digits of any script, '.',
// '_' and '-' are themselves, other bytes "%2F" and such. A '.' or '-' does not begin it,
// since that would hide it, or be an option of a command.
func folderOf(machine string) string {
	var b strings.Builder
	for i := 0; i < len(machine); {
		r, n := utf8.DecodeRuneInString(machine[i:])
		plain := r == '_' || i > 0 && (r == '.' || r == '-') ||
			(r != utf8.RuneError || n > 1) && (unicode.IsLetter(r) || unicode.IsDigit(r))
		if plain {
			b.WriteString(machine[i : i+n])
		} else {
			for _, c := range []byte(machine[i : i+n]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		i += n
	}
	return b.String()
}

// machineOf is the machine of a folder; false if the folder is of none.
func machineOf(folder string) (string, bool) {
	var b strings.Builder
	for rest := folder; rest != ""; {
		before, after, found := strings.Cut(rest, "%")
		b.WriteString(before)
		if !found {
			break
		}
		if len(after) < 2 {
			return "", false
		}
		c, err := strconv.ParseUint(after[:2], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		rest = after[2:]
	}
	machine := b.String()
	return machine, machine != "" && folderOf(machine) == folder
}

// validID reports whether an ID is the name of an image's folder: what vmimage.NewID
// gives, perhaps with more behind.
func validID(id string) bool {
	const shape = "2006-002T1504Z"
	if len(id) < len(shape) || !simple(id) {
		return false
	}
	_, err := time.Parse(shape, id[:len(shape)])
	return err == nil
}

// simple reports whether a name is that of a file on any system and an argument of any
// command: ASCII letters, digits, '_', and '.', '-' and '+' behind the first of these.
func simple(name string) bool {
	for i, r := range name {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_':
		case i > 0 && (r == '.' || r == '-' || r == '+'):
		default:
			return false
		}
	}
	return name != ""
}

// checkNames refuses files that an image cannot have.
func checkNames(names []string) error {
	seen := map[string]bool{ManifestName: true, sumsName: true}
	for _, name := range names {
		if !simple(name) || seen[name] {
			return fmt.Errorf("a file named %q: %w", name, fs.ErrInvalid)
		}
		seen[name] = true
	}
	return nil
}
