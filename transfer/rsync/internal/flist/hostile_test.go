package flist_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// A Decoder gives out nothing that no honest sender lists.
func TestDecoder_RefusesWhatNoFileHas(t *testing.T) {
	t.Parallel()
	o := flist.Options{Version: 32, Varint: true, Links: true, HardLinks: true, SafeErrors: true}
	const (
		size  = "\x00\x00\x00"
		mtime = "\x00\x00\x00\x00"
		file  = "\xa4\x81\x00\x00"
		dir   = "\xed\x41\x00\x00"
		link  = "\xff\xa1\x00\x00"
		rest  = size + mtime + file
		end   = "\x00\x00"
	)
	named := func(name string) string { return "\x04" + string(rune(len(name))) + name + rest + end }
	for _, tt := range []struct{ rule, data string }{
		{"an empty name", named("")},
		{"an absolute name", named("/etc/passwd")},
		{"a name with ..", named("a/../b")},
		{"the name ..", named("..")},
		{"a name that ends in ..", named("a/..")},
		{"a name with .", named("a/./b")},
		{"a name with an empty element", named("a//b")},
		{"a name with a slash at the end", named("a/")},
		{"a name with a NUL byte", named("a\x00b")},
		{"a root that is no directory", named(".")},
		{"a name of 4097 bytes", "\x44\x90\x01" + strings.Repeat("n", 4097) + rest + end},
		{"a name of 2 GiB", "\x44\xf0\xff\xff\xff\x7fa" + rest + end},
		{"a name of negative length", "\x44\xf0\xff\xff\xff\xffa" + rest + end},
		{"a prefix longer than the previous name", "\x04\x01a" + rest + "\x20\x02\x01b" + rest + end},
		{"a prefix that ends in the name before the previous", "\x04\x03abc" + rest + "\x04\x01x" + rest + "\x20\x03\x01d" + rest + end},
		{"a prefix of nothing", "\x20\x01\x01b" + rest + end},
		{"a prefix that makes the name too long", "\x44\x8f\xff" + strings.Repeat("n", 4095) + rest + "\x20\xff\xff" + strings.Repeat("n", 255) + rest + "\x60\xff\x8f\x02" + strings.Repeat("n", 3842) + rest + end},
		{"a negative size", "\x04\x01a" + "\xfc\xff\xff\xff\xff\xff\xff\xff\xff" + mtime + file + end},
		{"nanoseconds of a second", "\xa0\x00\x01a" + size + mtime + "\xf0\x00\xca\x9a\x3b" + file + end},
		{"negative nanoseconds", "\xa0\x00\x01a" + size + mtime + "\xf0\xff\xff\xff\xff" + file + end},
		{"a file of no type", "\x04\x01a" + size + mtime + "\xa4\x01\x00\x00" + end},
		{"a file of unknown type", "\x04\x01a" + size + mtime + "\xa4\xf1\x00\x00" + end},
		{"a mode beyond 16 bits", "\x04\x01a" + size + mtime + "\xa4\x81\x01\x00" + end},
		{"the mode of no previous entry", "\x02\x01a" + size + mtime + end},
		{"a symlink without target", "\x04\x01a" + size + mtime + link + "\x00" + end},
		{"a target of 4097 bytes", "\x04\x01a" + size + mtime + link + "\x90\x01" + strings.Repeat("t", 4097) + end},
		{"a target of negative length", "\x04\x01a" + size + mtime + link + "\xf0\xff\xff\xff\xff" + end},
		{"a target with a NUL byte", "\x04\x01a" + size + mtime + link + "\x02t\x00" + end},
		{"a hard link to itself", "\x82\x00\x01a\x00" + rest + end},
		{"a hard link to what comes later", "\x04\x01a" + rest + "\x82\x00\x01b\x02" + end},
		{"a hard link to a negative index", "\x04\x01a" + rest + "\x82\x00\x01b\xf0\xff\xff\xff\xff" + end},
		{"a hard link to what is the first of no group", "\x04\x01a" + rest + "\x82\x00\x01b\x00" + end},
		{"a directory that is a hard link", "\x92\x00\x01a" + size + mtime + dir + end},
		{"the first of a group that is none", "\x90\x00\x01a" + rest + end},
		{"a flag without meaning", "\xc0\x00\x80\x01a" + rest + end},
		{"a user's name without incremental recursion", "\x84\x00\x01a" + rest + "\x01u" + end},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			_, _, _, err := decode([]byte(tt.data), o, 1)
			require.ErrorIs(t, err, wire.ErrInvalid)
		})
	}
	_, _, _, err := decode([]byte(named("a")), o, 1)
	require.NoError(t, err, "the rows differ from this")
}

func TestDecoder_StripsTheSlashOfRelativeNamesOnly(t *testing.T) {
	t.Parallel()
	o := modern
	o.Relative = true
	absolute := []*flist.Entry{{Name: "//etc/a", Mode: 0o100644}, {Name: "//etc/b", Mode: 0o100644}}
	lists, _, _, err := decode(encode(t, o, flist.IDNames{}, 0, absolute), o, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"etc/a", "etc/b"}, names(lists[0]))
	for _, name := range []string{"/", "/../a", "/a//b"} {
		_, _, _, err := decode(encode(t, o, flist.IDNames{}, 0, []*flist.Entry{{Name: name, Mode: 0o100644}}), o, 1)
		require.ErrorIs(t, err, wire.ErrInvalid, name)
	}
	mixed := []*flist.Entry{{Name: "/etc/a", Mode: 0o100644}, {Name: "b", Mode: 0o100644}}
	_, _, _, err = decode(encode(t, o, flist.IDNames{}, 0, mixed), o, 1)
	require.ErrorIs(t, err, wire.ErrInvalid, "the sender sorts them otherwise")
}

func TestDecoder_RefusesAttributesOutOfBounds(t *testing.T) {
	t.Parallel()
	const entry = "\x04\x01a\x00\x00\x00\x00\x00\x00\x00\xa4\x81\x00\x00"
	acls, xattrs := modern, modern
	acls.ACLs, acls.NumericIDs, xattrs.Xattrs = true, true, true
	for _, tt := range []struct {
		rule string
		o    flist.Options
		data string
		ok   bool
	}{
		{"an ACL is dropped", acls, "\x00\x1f\x07\x07\x07\x07\x01\x05\x1d\x03bob", true},
		{"an ACL that did not come before", acls, "\x01", false},
		{"a negative number of an ACL", acls, "\xf0\xff\xff\xff\xff", false},
		{"an ACL of a million entries", acls, "\x00\x10\xcf\x40\x42" + strings.Repeat("\x02", 1<<22), false},
		{"attributes are dropped, long values as their sum", xattrs, "\x00\x02\x05\x02user\x00ab\x02\x21x\x00" + strings.Repeat("s", 16), true},
		{"attributes that did not come before", xattrs, "\x02", false},
		{"a million attributes", xattrs, "\x00\xcf\x40\x42" + strings.Repeat("\x01\x00\x00", 1<<20), false},
		{"a name of no bytes", xattrs, "\x00\x01\x00\x00", false},
		{"a value of negative length", xattrs, "\x00\x01\x01\xf0\xff\xff\xff\xff\x00", false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			lists, _, _, err := decode([]byte(entry+tt.data+"\x00\x00"), tt.o, 1)
			if tt.ok {
				require.NoError(t, err)
				require.Equal(t, []string{"a"}, names(lists[0]))
				return
			}
			require.ErrorIs(t, err, wire.ErrInvalid)
		})
	}
}

func TestDecoder_TellsAListThatIsCut(t *testing.T) {
	t.Parallel()
	whole := unhex(recordedBytes)
	for n := range len(whole) {
		_, _, _, err := decode(whole[:n], modern, 1)
		require.Error(t, err, n)
	}
}

func TestDecoder_BoundsTheNamesOfIDs(t *testing.T) {
	t.Parallel()
	o := modern
	o.Owner = true
	r := newReader(io.MultiReader(strings.NewReader("\x00\x00"), repeat("\x01\x01u")), o)
	d := flist.NewDecoder(r, o)
	_, ok := d.Next()
	require.False(t, ok)
	require.Empty(t, d.IDs().Users)
	require.ErrorIs(t, r.Err(), wire.ErrInvalid)
}

// repeat is an endless stream.
type repeat string

func (s repeat) Read(p []byte) (int, error) {
	return copy(p, strings.Repeat(string(s), len(p)/len(s))), nil
}

func TestNewEncoder_PanicsForWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	w := wire.NewWriter(io.Discard)
	require.Panics(t, func() { flist.NewEncoder(w, flist.Options{Version: 32, ACLs: true}) })
	require.Panics(t, func() { flist.NewEncoder(w, flist.Options{Version: 32, Xattrs: true}) })
}

// Whatever the bytes and the options: no panic, no end that never comes, and
// what is given out keeps the promises and can be sent again.
func FuzzDecoder(f *testing.F) {
	f.Add(unhex(recordedBytes), uint8(32), uint16(0xffff))
	for version := uint8(29); version <= 32; version++ {
		for _, bits := range []uint16{0, 0x1ff, 0x3ff, 0x17ff, 0x1fff, 0xffff} {
			o := fuzzOptions(version, bits)
			o.ACLs, o.Xattrs = false, false
			list := []*flist.Entry{
				{Name: ".", Mode: 0o040755, Top: true},
				{Name: "2026/060/tec.dat", Size: 1 << 33, Sec: 1704164645, Nsec: 5, Mode: 0o100644, UID: 1000, GID: 70000, Extra: &flist.Extra{Link: o0(o) + 1, User: "u", Group: "g", Atime: 5, Crtime: 6}},
				{Name: "2026/060/tec.link", Mode: 0o100644, Extra: &flist.Extra{Link: o0(o) + 1}},
				{Name: "2026/dev", Mode: 0o020600, Extra: &flist.Extra{Link: -1, Major: 300, Minor: 7}},
				{Name: "link", Mode: 0o120777, Extra: &flist.Extra{Link: -1, Target: "2026"}},
			}
			f.Add(encode(f, o, flist.IDNames{Users: map[uint32]string{0: "root", 1000: "u"}}, 2, list, list[:1]), version, bits)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, version uint8, bits uint16) {
		o := fuzzOptions(version, bits)
		r := newReader(bytes.NewReader(data), o)
		d := flist.NewDecoder(r, o)
		var lists [][]*flist.Entry
		for range 3 {
			list := []*flist.Entry{}
			for e, ok := d.Next(); ok; e, ok = d.Next() {
				requireSound(t, e, o)
				list = append(list, e)
			}
			if r.Err() != nil {
				break
			}
			lists = append(lists, list)
			if !o.Incremental {
				break
			}
		}
		ids := d.IDs()
		if o.ACLs || o.Xattrs {
			return
		}
		again, _, _, err := decode(encode(t, o, ids, d.IOErrors(), lists...), o, len(lists))
		require.NoError(t, err)
		for i := range lists {
			require.Equal(t, names(lists[i]), names(again[i]))
			flist.Sort(lists[i])
		}
	})
}

func o0(o flist.Options) int32 {
	if o.Incremental {
		return 1
	}
	return 0
}

func fuzzOptions(version uint8, bits uint16) flist.Options {
	on := func(n int) bool { return bits>>n&1 != 0 }
	o := flist.Options{
		Version: 29 + int(version+3)%4,
		Owner:   on(0), Group: on(1), Devices: on(2), Specials: on(3), Links: on(4), HardLinks: on(5),
		Atimes: on(6), Crtimes: on(7), NumericIDs: on(8), Relative: on(9), ACLs: on(10) && on(11), Xattrs: on(10) && on(12),
	}
	if o.Version >= 30 {
		o.Incremental, o.Varint, o.SafeErrors, o.IDZero = on(13), on(14), on(15), on(14)
	}
	if on(12) && !o.Xattrs {
		o.SumLen = 16
	}
	return o
}

func requireSound(t *testing.T, e *flist.Entry, o flist.Options) {
	t.Helper()
	if e.Name == "" || len(e.Name) > 4096 || e.Name[0] == '/' || strings.ContainsRune(e.Name, 0) ||
		e.Size < 0 || e.Nsec > 999999999 || e.Name == "." && !e.IsDir() {
		t.Fatalf("%+v", e)
	}
	if e.Name != "." {
		for elem := range strings.SplitSeq(e.Name, "/") {
			if elem == "" || elem == "." || elem == ".." {
				t.Fatalf("%q", e.Name)
			}
		}
	}
	if e.Mode>>12 == 10 && o.Links && (e.Extra == nil || e.Target == "" || len(e.Target) > 4096) {
		t.Fatalf("%+v", e)
	}
}
