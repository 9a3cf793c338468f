package rsync

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// flag is an option of one letter.
type flag struct {
	letter byte
	field  func(o *Options) *bool
}

var flags = []flag{
	{'n', func(o *Options) *bool { return &o.DryRun }},
	{'l', func(o *Options) *bool { return &o.Links }},
	{'o', func(o *Options) *bool { return &o.Owner }},
	{'g', func(o *Options) *bool { return &o.Group }},
	{'t', func(o *Options) *bool { return &o.Times }},
	{'p', func(o *Options) *bool { return &o.Perms }},
	{'r', func(o *Options) *bool { return &o.Recursive }},
	{'d', func(o *Options) *bool { return &o.Dirs }},
	{'R', func(o *Options) *bool { return &o.Relative }},
	{'H', func(o *Options) *bool { return &o.HardLinks }},
	{'c', func(o *Options) *bool { return &o.Checksum }},
	{'I', func(o *Options) *bool { return &o.IgnoreTimes }},
	{'u', func(o *Options) *bool { return &o.Update }},
	{'W', func(o *Options) *bool { return &o.WholeFile }},
	{'S', func(o *Options) *bool { return &o.Sparse }},
	{'O', func(o *Options) *bool { return &o.OmitDirTimes }},
	{'J', func(o *Options) *bool { return &o.OmitLinkTimes }},
	{'x', func(o *Options) *bool { return &o.OneFileSystem }},
}

// long is an option with a name. Those that take a value have set.
type long struct {
	name  string
	field func(o *Options) *bool
	set   func(o *Options, value string) error
}

var longs = []long{
	{name: "--numeric-ids", field: func(o *Options) *bool { return &o.NumericIDs }},
	{name: "--size-only", field: func(o *Options) *bool { return &o.SizeOnly }},
	{name: "--existing", field: func(o *Options) *bool { return &o.Existing }},
	{name: "--ignore-existing", field: func(o *Options) *bool { return &o.IgnoreExisting }},
	{name: "--ignore-errors", field: func(o *Options) *bool { return &o.IgnoreErrors }},
	{name: "--force", field: func(o *Options) *bool { return &o.Force }},
	{name: "--delete-excluded", field: func(o *Options) *bool { return &o.DeleteAll }},
	{name: "--inplace", field: func(o *Options) *bool { return &o.InPlace }},
	{name: "--partial", field: func(o *Options) *bool { return &o.Partial }},
	{name: "--fsync", field: func(o *Options) *bool { return &o.Fsync }},
	{name: "--max-delete", set: func(o *Options, v string) (err error) {
		if o.MaxDelete, err = strconv.Atoi(v); err == nil && o.MaxDelete == 0 {
			o.MaxDelete = -1
		}
		return err
	}},
	{name: "--partial-dir", set: func(o *Options, v string) error { o.PartialDir = v; return nil }},
	{name: "--link-dest", set: func(o *Options, v string) error { o.LinkDest = v; return nil }},
	{name: "--block-size", set: func(o *Options, v string) (err error) { o.BlockSize, err = strconv.Atoi(v); return err }},
	{name: "--timeout", set: func(o *Options, v string) error {
		n, err := strconv.Atoi(v)
		o.Timeout = time.Duration(n) * time.Second
		return err
	}},
	{name: "--bwlimit", set: func(o *Options, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		o.Bandwidth = n << 10
		return err
	}},
	{name: "--checksum-seed", set: func(o *Options, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		o.Seed = int32(n)
		return err
	}},
}

// ServerArgs are the arguments for the rsync of the far side, without its own
// name, which must be quoted for its shell. The far side sends if send is
// true, paths then are its sources; else it receives into one path.
func (o *Options) ServerArgs(send bool, paths ...string) []string {
	args := []string{"--server"}
	if send {
		args = append(args, "--sender")
	}
	var letters strings.Builder
	letters.WriteString("-")
	for _, f := range flags {
		if *f.field(o) {
			letters.WriteString(string(f.letter))
		}
	}
	if o.Devices {
		letters.WriteString("D")
	}
	if len(o.Compress) > 1 {
		letters.WriteString("z")
	}
	letters.WriteString("e.")
	if o.version() >= 30 {
		if send && o.incremental() {
			letters.WriteString("i")
		}
		letters.WriteString(capabilities)
	}
	args = append(args, letters.String())
	if o.Devices && !o.Specials {
		args = append(args, "--no-specials")
	}
	if !o.Devices && o.Specials {
		args = append(args, "--specials")
	}
	if o.Delete != DeleteNone && !send {
		args = append(args, deleteOptions[o.Delete])
	}
	for _, l := range longs {
		if l.field != nil && *l.field(o) {
			args = append(args, l.name)
		}
	}
	add := func(ok bool, format string, v any) {
		if ok {
			args = append(args, fmt.Sprintf(format, v))
		}
	}
	add(o.MaxDelete > 0, "--max-delete=%d", o.MaxDelete)
	add(o.MaxDelete < 0, "--max-delete=%d", 0)
	add(o.BlockSize > 0, "--block-size=%d", o.BlockSize)
	add(o.Timeout > 0, "--timeout=%d", int(o.Timeout/time.Second))
	add(o.Seed != 0, "--checksum-seed=%d", o.Seed)
	add(o.Bandwidth > 0, "--bwlimit=%d", (o.Bandwidth+1023)>>10)
	add(o.PartialDir != "", "--partial-dir=%s", o.PartialDir)
	add(o.LinkDest != "" && !send, "--link-dest=%s", o.LinkDest)
	if len(o.Checksums) == 1 {
		args = append(args, "--checksum-choice="+o.Checksums[0])
	}
	if len(o.Compress) == 1 {
		args = append(args, "--compress-choice="+o.Compress[0])
	}
	switch {
	case o.Append:
		args = append(args, "--append", "--append")
	case o.AppendBlind:
		args = append(args, "--append")
	}
	if send && len(o.FilesFrom) > 0 {
		args = append(args, "--files-from=-", "--from0")
		if !o.Relative {
			args = append(args, "--no-relative")
		}
	}
	args = append(args, o.Extra...)
	args = append(args, ".")
	for _, p := range paths {
		if strings.HasPrefix(p, "-") {
			p = "./" + p
		}
		args = append(args, p)
	}
	return args
}

// capabilities is what every client of ours says it can do. Not among it is the
// conversion of names.
const capabilities = "LfxCIvu"

// serverArgs is what a client asked of a server.
type serverArgs struct {
	Options
	send         bool
	capabilities string // "" if the client is too old to have any
	filesFrom    bool   // names come over the stream
	paths        []string
}

// parseServerArgs understands what [Options.ServerArgs] and rsync write. What
// is not supported is an error that names it.
func parseServerArgs(args []string) (*serverArgs, error) {
	a := new(serverArgs)
	if len(args) == 0 || args[0] != "--server" {
		return nil, fmt.Errorf("the first argument is not --server: this is to be started by an rsync client")
	}
	args = args[1:]
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == ".":
			a.paths = args
			if len(a.paths) == 0 {
				return nil, fmt.Errorf("no path is named")
			}
			if a.DeleteAll && a.Delete == DeleteNone {
				a.Delete = DeleteDuring
			}
			return a, a.check()
		case strings.HasPrefix(arg, "--"):
			used, err := a.long(arg, args)
			if err != nil {
				return nil, err
			}
			if used {
				args = args[1:]
			}
		case strings.HasPrefix(arg, "-") && len(arg) > 1:
			if err := a.letters(arg[1:]); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("argument %s is out of place", quote(arg))
		}
	}
	return nil, fmt.Errorf("no path is named")
}

func (a *serverArgs) letters(letters string) error {
	for i := 0; i < len(letters); i++ {
		c := letters[i]
		if j := slices.IndexFunc(flags, func(f flag) bool { return f.letter == c }); j >= 0 {
			*flags[j].field(&a.Options) = true
			continue
		}
		switch c {
		case 'D':
			a.Devices, a.Specials = true, true
		case 'z':
			a.Compress = compressors
		case 'v', 'q', 'h', 'i': // what is shown
		case 'B':
			n, err := strconv.Atoi(letters[i+1:])
			if err != nil {
				return fmt.Errorf("block size %s: %w", quote(letters[i+1:]), err)
			}
			a.BlockSize = n
			return nil
		case 'e':
			_, a.capabilities, _ = strings.Cut(letters[i+1:], ".")
			return nil
		default:
			return fmt.Errorf("option -%s is not supported", quote(string(rune(c))))
		}
	}
	return nil
}

// long understands one option with a name. used reports whether that was with
// the next argument.
func (a *serverArgs) long(arg string, rest []string) (used bool, err error) {
	name, value, has := strings.Cut(arg, "=")
	if i := slices.Index(deleteOptions, name); i > 0 {
		a.Delete = DeleteMode(i)
		return false, nil
	}
	for _, l := range longs {
		switch {
		case l.name != name:
		case l.field != nil:
			*l.field(&a.Options) = true
			return false, nil
		case !has && len(rest) == 0:
			return false, fmt.Errorf("option %s lacks its value", name)
		default:
			if !has {
				value = rest[0]
			}
			if err := l.set(&a.Options, value); err != nil {
				return false, fmt.Errorf("option %s: %w", name, err)
			}
			return !has, nil
		}
	}
	switch name {
	case "--sender":
		a.send = true
	case "--delete":
		a.Delete = DeleteDuring
	case "--append":
		a.Append, a.AppendBlind = a.AppendBlind, !a.AppendBlind
	case "--specials":
		a.Specials = true
	case "--devices":
		a.Devices = true
	case "--no-specials":
		a.Specials = false
	case "--no-devices":
		a.Devices = false
	case "--checksum-choice":
		a.Checksums = []string{value}
	case "--compress-choice":
		a.Compress = []string{value}
	case "--new-compress":
		a.Compress = []string{"zlibx"}
	case "--no-inc-recursive", "--no-i-r":
		a.NoIncremental = true
	case "--files-from":
		if value != "-" {
			return false, fmt.Errorf("option %s is not supported but for -", quote(arg))
		}
		a.filesFrom = true
		if !slices.Contains(rest, "--no-relative") {
			a.Relative = true
		}
	case "--from0", "--no-relative", "--no-r", "--no-implied-dirs", "--log-format", "--out-format", "--stats", "--msgs2stderr", "--no-msgs2stderr",
		"--no-W", "--no-whole-file", "--compress-level":
		// nothing that changes what arrives, or what is so in any case
	default:
		return false, fmt.Errorf("option %s is not supported", quote(name))
	}
	return false, nil
}
