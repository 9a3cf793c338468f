package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"

	"github.com/obskeep/obskeep/vmimage"
)

// extended is a qcow2 file in which a cluster has 32 subclusters, each of which is data,
// zeros, or what lies beneath ("Extended L2 Entries" of QEMU's docs/interop/qcow2.txt). The
// library reads such a file right, but a whole table anew for each cluster, which takes
// fifty times as long.
type extended struct {
	qcow2   // for what is compressed
	f       *os.File
	below   *beneath // nil: nothing
	cluster int64    // bytes
	l1      []byte

	mu    sync.Mutex
	index int64 // of the L2 table that was read last, in the L1 table
	l2    []byte
}

const (
	extendedL2 = 1 << 4 // of the incompatible features
	subs       = 32     // subclusters of a cluster
)

func openExtended(q qcow2, f *os.File, below *beneath) (*extended, error) {
	var h [48]byte
	if _, err := f.ReadAt(h[:], 0); err != nil {
		return nil, bare(err)
	}
	x := &extended{qcow2: q, f: f, below: below, cluster: 1 << binary.BigEndian.Uint32(h[20:]), index: -1}
	x.l1 = make([]byte, 8*int64(binary.BigEndian.Uint32(h[36:])))
	_, err := f.ReadAt(x.l1, int64(binary.BigEndian.Uint64(h[40:])))
	if err != nil {
		return nil, fmt.Errorf("L1 table: %w", bare(err))
	}
	return x, nil
}

// kind is what a run of subclusters is.
type kind uint8

const (
	inBelow kind = iota
	inData
	inZeros
	inCompressed
)

// run is how many bytes from off on are of one kind, and where data are in the file.
func (x *extended) run(off int64) (k kind, n, at int64, err error) {
	const offset = 1<<56 - 1<<9 // the bits of an entry that are one
	entries := x.cluster / 16
	number, inside := off/x.cluster, off%x.cluster
	rest := min(x.cluster-inside, x.Size()-off)
	index := number / entries
	if 8*index >= int64(len(x.l1)) {
		return 0, 0, 0, errors.New("the L1 table is too short")
	}
	table := int64(binary.BigEndian.Uint64(x.l1[8*index:]) & offset)
	if table == 0 {
		if x.below == nil {
			rest = min((index+1)*entries*x.cluster, x.Size()) - off
		}
		return inBelow, rest, 0, nil
	}
	host, bits, err := x.entry(index, table, number%entries)
	if err != nil {
		return 0, 0, 0, err
	}
	if host&(1<<62) != 0 {
		return inCompressed, rest, 0, nil
	}
	of := func(i int64) kind {
		switch {
		case bits>>i&1 != 0:
			return inData
		case bits>>(subs+i)&1 != 0:
			return inZeros
		}
		return inBelow
	}
	size := x.cluster / subs
	end := inside/size + 1
	k = of(end - 1)
	for end < subs && of(end) == k {
		end++
	}
	at = int64(host & offset)
	if k == inData && at == 0 {
		return 0, 0, 0, errors.New("data without a place")
	}
	return k, min(end*size-inside, rest), at + inside, nil
}

// entry is an entry of the L2 table at an offset, and its bitmaps.
func (x *extended) entry(index, table, i int64) (host, bits uint64, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.index != index {
		x.index, x.l2 = -1, make([]byte, x.cluster)
		if _, err := x.f.ReadAt(x.l2, table); err != nil {
			return 0, 0, fmt.Errorf("L2 table at %d: %w", table, whole(err))
		}
		x.index = index
	}
	return binary.BigEndian.Uint64(x.l2[16*i:]), binary.BigEndian.Uint64(x.l2[16*i+8:]), nil
}

// whole makes of the end of a file what it is where more was to come.
func whole(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return bare(err)
}

func (x *extended) ReadAt(p []byte, off int64) (n int, err error) {
	want, end := clamp(len(p), off, x.Size())
	for n < want {
		k, length, at, err := x.run(off + int64(n))
		q := p[n : n+int(min(length, int64(want-n)))]
		switch {
		case err != nil:
		case k == inData:
			_, err = x.f.ReadAt(q, at)
			err = whole(err)
		case k == inCompressed:
			_, err = x.qcow2.ReadAt(q, off+int64(n))
			if err == io.EOF { // of the disk
				err = nil
			}
		case k == inBelow && x.below != nil:
			m := 0
			m, err = x.below.ReadAt(q, off+int64(n))
			if err == io.EOF {
				err = nil
			}
			clear(q[m:])
		default:
			clear(q)
		}
		if err != nil {
			return n, fmt.Errorf("qcow2 file at %d: %w", off+int64(n), err)
		}
		n += len(q)
	}
	return n, end
}

func (x *extended) Extents() iter.Seq2[vmimage.Extent, error] {
	return extents(x.Size(), func(off int64) (n int64, zero bool, err error) {
		k, n, _, err := x.run(off)
		if k == inBelow && x.below != nil && err == nil {
			e, err := x.below.Extent(off, n)
			return n, e.Zero, err
		}
		return n, k == inBelow || k == inZeros, err
	})
}
