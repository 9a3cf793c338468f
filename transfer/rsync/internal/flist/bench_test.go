package flist_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// stations is a list of count files with names of 20 bytes, in the order of a
// walk.
func stations(count int) []*flist.Entry {
	entries := make([]flist.Entry, count)
	list := make([]*flist.Entry, count)
	for i := range entries {
		entries[i] = flist.Entry{Name: fmt.Sprintf("st%03d/%03d/tec%05d.dat", i/36500%1000, i/100%365, i%100000)[:20], Size: 4096, Sec: 1704164645 + int64(i), Mode: 0o100644, UID: 1000, GID: 1000}
		list[i] = &entries[i]
	}
	return list
}

var owned = flist.Options{Version: 32, Varint: true, Owner: true, Group: true, Links: true, Devices: true, Specials: true}

func BenchmarkDecoder_AMillionEntries(b *testing.B) {
	const count = 1_000_000
	data := encode(b, owned, flist.IDNames{}, 0, stations(count))
	b.ReportAllocs()
	for b.Loop() {
		list, memory := decodeMeasured(b, data)
		require.Len(b, list, count)
		b.ReportMetric(float64(memory)/count, "B/entry")
		b.ReportMetric(float64(len(data))/count, "wire-B/entry")
	}
}

// decodeMeasured returns a list and what it takes of memory.
func decodeMeasured(b testing.TB, data []byte) ([]*flist.Entry, uint64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what one sweeps late is not counted against the other
	runtime.ReadMemStats(&before)
	d := flist.NewDecoder(newReader(bytes.NewReader(data), owned), owned)
	var list []*flist.Entry
	for e, ok := d.Next(); ok; e, ok = d.Next() {
		list = append(list, e)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(list)
	runtime.KeepAlive(data)
	return list, after.HeapAlloc - before.HeapAlloc
}

// A million entries with names of 20 bytes take less than 160 MB, with the
// slice of pointers to them.
func TestDecoder_AMillionEntriesAreSmall(t *testing.T) {
	const count = 50_000
	list, memory := decodeMeasured(t, encode(t, owned, flist.IDNames{}, 0, stations(count)))
	require.Len(t, list, count)
	require.Less(t, memory/count, uint64(160))
	t.Logf("%d bytes an entry", memory/count)
}

func BenchmarkEncoder_AMillionEntries(b *testing.B) {
	list := stations(1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		w := wire.NewWriter(io.Discard)
		e := flist.NewEncoder(w, owned)
		for _, f := range list {
			e.Add(f)
		}
		e.End(0)
		require.NoError(b, w.Flush())
	}
}

func BenchmarkSort_AMillionEntries(b *testing.B) {
	walked := stations(1_000_000)
	shuffled := slices.Clone(walked)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for _, bm := range []struct {
		name string
		list []*flist.Entry
	}{{"Walked", walked}, {"Shuffled", shuffled}} {
		b.Run(bm.name, func(b *testing.B) {
			list := make([]*flist.Entry, len(bm.list))
			for b.Loop() {
				copy(list, bm.list)
				flist.Sort(list)
			}
		})
	}
}
