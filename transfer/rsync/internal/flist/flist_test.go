package flist_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

func newReader(r io.Reader, o flist.Options) *wire.Reader {
	wr := wire.NewReader(r)
	wr.SetVersion(o.Version)
	return wr
}

// encode writes lists, each with its error flags, and the names of ids.
func encode(t testing.TB, o flist.Options, ids flist.IDNames, ioErrors int32, lists ...[]*flist.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := wire.NewWriter(&b)
	w.SetVersion(o.Version)
	e := flist.NewEncoder(w, o)
	for _, list := range lists {
		for _, f := range list {
			e.Add(f)
		}
		e.End(ioErrors)
	}
	e.IDs(ids)
	require.NoError(t, w.Flush())
	return b.Bytes()
}

// decode reads count lists.
func decode(data []byte, o flist.Options, count int) (lists [][]*flist.Entry, ids flist.IDNames, ioErrors int32, err error) {
	r := newReader(bytes.NewReader(data), o)
	d := flist.NewDecoder(r, o)
	for range count {
		var list []*flist.Entry
		for f, ok := d.Next(); ok; f, ok = d.Next() {
			list = append(list, f)
		}
		lists = append(lists, list)
	}
	ids = d.IDs()
	if err := r.Err(); err != nil {
		return nil, ids, 0, err
	}
	r.Byte()
	if r.Err() != io.EOF {
		return nil, ids, 0, fmt.Errorf("bytes left over: %v", r.Err())
	}
	return lists, ids, d.IOErrors(), nil
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

var modern = flist.Options{Version: 32, Varint: true, IDZero: true, SafeErrors: true}

// The list of the recorded session: the root and the file f.
func recorded() []*flist.Entry {
	return []*flist.Entry{
		{Name: ".", Size: 4096, Sec: 1704164645, Mode: 0o040755, Top: true},
		{Name: "f", Size: 13, Sec: 1704164645, Nsec: 500000000, Mode: 0o100644},
	}
}

const recordedBytes = "19 01 2e 00 00 10 65 25 7d 93 ed 41 00 00" +
	"a0 98 01 66 00 0d 00 f0 00 65 cd 1d a4 81 00 00 00 00"

func TestEncoder_WritesTheBytesOfRsync(t *testing.T) {
	t.Parallel()
	require.Equal(t, unhex(recordedBytes), encode(t, modern, flist.IDNames{}, 0, recorded()))
}

func TestDecoder_ReadsTheBytesOfRsync(t *testing.T) {
	t.Parallel()
	lists, _, _, err := decode(unhex(recordedBytes), modern, 1)
	require.NoError(t, err)
	if diff := cmp.Diff([][]*flist.Entry{recorded()}, lists); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEncoder_OldFormOfFlags(t *testing.T) {
	t.Parallel()
	o := flist.Options{Version: 31, SafeErrors: true, Owner: true, Group: true}
	first := &flist.Entry{Name: "a", Sec: 1, Mode: 0o100644, UID: 1, GID: 1}
	for _, tt := range []struct {
		rule string
		list []*flist.Entry
		want string
	}{
		{"flags of a file that would be zero are 1", []*flist.Entry{first}, "01 01 61"},
		{"flags of a directory that would be zero are two bytes", []*flist.Entry{{Name: "a", Sec: 1, Mode: 0o040755, UID: 1, GID: 1}}, "04 00 01 61"},
		{"flags above 255 are two bytes", []*flist.Entry{{Name: "a", Sec: 1, Nsec: 1, Mode: 0o100644, UID: 1, GID: 1}}, "04 20 01 61"},
	} {
		got := encode(t, o, flist.IDNames{}, 0, tt.list)
		require.True(t, bytes.HasPrefix(got, unhex(tt.want)), "%s: % x", tt.rule, got)
	}
	got := encode(t, flist.Options{Version: 31, SafeErrors: true}, flist.IDNames{}, 1, []*flist.Entry{})
	require.Equal(t, unhex("04 10 01"), got, "an error stands at the end of the list")
	got = encode(t, flist.Options{Version: 31}, flist.IDNames{}, 1, []*flist.Entry{})
	require.Equal(t, unhex("00"), got, "a reader that does not know of errors there is told none")
}

// A later member of a group carries its name and the index of the first, and
// leaves behind what the first would have.
func TestEncoder_HardLinks(t *testing.T) {
	t.Parallel()
	o := modern
	o.HardLinks = true
	first := &flist.Entry{Name: "a", Sec: 5, Mode: 0o100600, Extra: &flist.Extra{Link: 0}}
	between := &flist.Entry{Name: "b", Sec: 7, Mode: 0o100644}
	later := &flist.Entry{Name: "c", Sec: 5, Mode: 0o100600, Extra: &flist.Extra{Link: 0}}
	after := &flist.Entry{Name: "d", Sec: 5, Mode: 0o100600}
	got := encode(t, o, flist.IDNames{}, 0, []*flist.Entry{first, between, later, after})
	want := unhex("92 18" + "01 61" + "00 00 00" + "00 05 00 00" + "80 81 00 00" + // 0x1218
		"18 01 62" + "00 00 00" + "00 07 00 00" + "a4 81 00 00" +
		"82 00" + "01 63" + "00" + // 0x200, index 0
		"80 9a" + "01 64" + "00 00 00" + // 0x9a: as previous
		"00 00")
	require.Equal(t, want, got)
}

// A later member leaves the major number of devices alone, unless it is one.
func TestEncoder_HardLinksOfFilesLeaveTheMajorNumber(t *testing.T) {
	t.Parallel()
	o := modern
	o.HardLinks, o.Devices = true, true
	list := []*flist.Entry{
		{Name: "a", Mode: 0o100644, Extra: &flist.Extra{Link: 0}},
		{Name: "b", Mode: 0o060600, Extra: &flist.Extra{Link: -1, Major: 8}},
		{Name: "c", Mode: 0o100644, Extra: &flist.Extra{Link: 0}},
		{Name: "d", Mode: 0o060600, Extra: &flist.Extra{Link: -1, Major: 0, Minor: 1}},
	}
	lists, _, _, err := decode(encode(t, o, flist.IDNames{}, 0, list), o, 1)
	require.NoError(t, err)
	if diff := cmp.Diff(list, lists[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What an Encoder writes a Decoder reads back.
func TestDecoder_ReadsWhatAnEncoderWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		o := drawOptions(rt)
		lists := drawLists(rt, o)
		ids := flist.IDNames{}
		if o.Owner && !o.NumericIDs && !o.Incremental {
			ids.Users = drawNames(rt, o)
		}
		if o.Group && !o.NumericIDs && !o.Incremental {
			ids.Groups = drawNames(rt, o)
		}
		ioErrors := rapid.Int32Range(0, 7).Draw(rt, "errors")
		got, gotIDs, gotErrors, err := decode(encode(t, o, ids, ioErrors, lists...), o, len(lists))
		if err != nil {
			rt.Fatal(err)
		}
		carry := newCarrier(o)
		for i := range lists {
			clear(carry.firsts)
			var want []*flist.Entry
			for _, e := range lists[i] {
				want = append(want, carry.entry(e))
			}
			if diff := cmp.Diff(want, got[i]); diff != "" {
				rt.Fatalf("list %d of %+v (-want +got):\n%s", i, o, diff)
			}
		}
		if diff := cmp.Diff(ids, gotIDs); diff != "" {
			rt.Fatalf("names (-want +got):\n%s", diff)
		}
		if o.Version >= 30 && !o.Varint && !o.SafeErrors || o.Version < 30 && o.Incremental {
			ioErrors = 0
		}
		if ioErrors != gotErrors {
			rt.Fatalf("errors: want %d, got %d", ioErrors, gotErrors)
		}
	})
}

func drawOptions(t *rapid.T) flist.Options {
	yes := func(name string) bool { return rapid.Bool().Draw(t, name) }
	o := flist.Options{
		Version: rapid.IntRange(29, 32).Draw(t, "version"),
		Owner:   yes("owner"), Group: yes("group"), Devices: yes("devices"), Specials: yes("specials"),
		Links: yes("links"), HardLinks: yes("hardlinks"), Atimes: yes("atimes"), Crtimes: yes("crtimes"),
		NumericIDs: yes("numeric"), SumLen: rapid.SampledFrom([]int{0, 8, 16}).Draw(t, "sum"),
	}
	if o.Version >= 30 {
		o.Varint, o.IDZero, o.SafeErrors, o.Incremental = yes("varint"), yes("id0"), yes("safe"), yes("incremental")
	}
	return o
}

func drawNames(t *rapid.T, o flist.Options) map[uint32]string {
	names := rapid.MapOf(rapid.Uint32Range(0, 70000), rapid.StringN(1, 60, 255)).Draw(t, "names")
	if !o.IDZero {
		delete(names, 0)
	}
	return names
}

func drawLists(t *rapid.T, o flist.Options) [][]*flist.Entry {
	count := 1
	index := int32(0)
	if o.Incremental {
		count, index = rapid.IntRange(1, 3).Draw(t, "lists"), 1
	}
	var firsts []*flist.Entry
	lists := make([][]*flist.Entry, count)
	for i := range lists {
		for range rapid.IntRange(0, 12).Draw(t, "entries") {
			e := drawEntry(t, o, index, &firsts)
			lists[i] = append(lists[i], e)
			index++
		}
		index++
	}
	return lists
}

func drawEntry(t *rapid.T, o flist.Options, index int32, firsts *[]*flist.Entry) *flist.Entry {
	name := rapid.SampledFrom([]string{"", "2026/060/", strings.Repeat("long/", 60), strings.Repeat("longer-", 90)}).Draw(t, "dir") +
		rapid.SampledFrom([]string{"a", "ab", "b", "\xc3", "\xc3\xa9", "c.dat", "c d", "ca"}).Draw(t, "name")
	if len(*firsts) > 0 && rapid.IntRange(0, 3).Draw(t, "later") == 0 {
		e := *rapid.SampledFrom(*firsts).Draw(t, "first")
		e.Name = name
		return &e
	}
	seconds := rapid.SampledFrom([]int64{-1 << 40, -1, 0, 1, 1704164645, 1<<31 - 1, 1 << 31, 1 << 35})
	id := rapid.SampledFrom([]uint32{0, 1, 1000, 70000, 1<<32 - 1})
	e := &flist.Entry{
		Name: name,
		Size: rapid.SampledFrom([]int64{0, 1, 4096, 1<<31 - 1, 1 << 31, 3 << 40}).Draw(t, "size"),
		Sec:  seconds.Draw(t, "sec"),
		Nsec: rapid.SampledFrom([]uint32{0, 0, 1, 999999999}).Draw(t, "nsec"),
		Mode: rapid.SampledFrom([]uint32{0o100644, 0o100644, 0o100600, 0o040755, 0o120777, 0o020600, 0o060600, 0o010600, 0o140777}).Draw(t, "mode"),
		UID:  id.Draw(t, "uid"), GID: id.Draw(t, "gid"),
		Extra: &flist.Extra{
			Link: -1, Target: "../target", Sum: bytes.Repeat([]byte{7}, o.SumLen),
			Major: rapid.SampledFrom([]uint32{0, 8, 300}).Draw(t, "major"),
			Minor: rapid.SampledFrom([]uint32{0, 1, 255, 256, 70000}).Draw(t, "minor"),
			Atime: seconds.Draw(t, "atime"), Crtime: seconds.Draw(t, "crtime"),
		},
	}
	e.User, e.Group = fmt.Sprint("u", e.UID), fmt.Sprint("g", e.GID)
	if e.IsDir() {
		e.Top, e.NoContent = rapid.Bool().Draw(t, "top"), rapid.Bool().Draw(t, "nocontent")
	} else if rapid.IntRange(0, 2).Draw(t, "linked") == 0 {
		e.Link = index
		*firsts = append(*firsts, e)
	}
	return e
}

// A carrier says what a Decoder gives for an entry: what its version and
// options carry.
type carrier struct {
	o             flist.Options
	users, groups map[uint32]bool
	firsts        map[int32]*flist.Extra // of this list
}

func newCarrier(o flist.Options) *carrier {
	return &carrier{o: o, users: map[uint32]bool{}, groups: map[uint32]bool{}, firsts: map[int32]*flist.Extra{}}
}

func (c *carrier) entry(in *flist.Entry) *flist.Entry {
	o, e := c.o, *in
	regular, symlink := e.Mode>>12 == 8, e.Mode>>12 == 10
	device, special := e.Mode>>12 == 2 || e.Mode>>12 == 6, e.Mode>>12 == 1 || e.Mode>>12 == 12
	if device {
		e.Size = 0
	}
	if o.Version < 31 {
		e.Nsec = 0
	}
	if o.Version < 30 {
		e.Sec = max(0, min(e.Sec, 1<<32-1))
		e.NoContent = false
	}
	x := flist.Extra{Link: -1}
	if o.HardLinks && !e.IsDir() {
		x.Link = e.Link
	}
	if o.Crtimes {
		x.Crtime = e.Crtime
	}
	if o.Atimes && !e.IsDir() {
		x.Atime = e.Atime
	}
	if o.Links && symlink {
		x.Target = e.Target
	}
	if regular && o.SumLen > 0 {
		x.Sum = e.Sum
	}
	if device && o.Devices || special && o.Specials && o.Version < 31 {
		x.Major, x.Minor = e.Major, e.Minor
	}
	if !o.Owner {
		e.UID = 0
	}
	if !o.Group {
		e.GID = 0
	}
	if first := c.firsts[x.Link]; x.Link >= 0 && first != nil {
		x.User, x.Group = first.User, first.Group
	} else if o.Incremental && !o.NumericIDs {
		if o.Owner && !c.users[e.UID] && (e.UID != 0 || o.IDZero) {
			x.User, c.users[e.UID] = e.User, true
		}
		if o.Group && !c.groups[e.GID] && (e.GID != 0 || o.IDZero) {
			x.Group, c.groups[e.GID] = e.Group, true
		}
	}
	if x.Link >= 0 && c.firsts[x.Link] == nil {
		c.firsts[x.Link] = &x
	}
	e.Extra = &x
	if cmp.Equal(x, flist.Extra{Link: -1}) && !(o.Crtimes || o.Atimes && !e.IsDir() || device && o.Devices || special && o.Specials && o.Version < 31) {
		e.Extra = nil
	}
	return &e
}
