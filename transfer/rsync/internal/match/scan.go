package match

import (
	"bytes"

	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
)

// waste is how many bytes may be hashed for nothing, for each byte of a segment.
const waste = 64

// scanner searches segments, for one goroutine.
type scanner struct {
	*basis
	hasher *sum.BlockHasher
	strong []byte // of the window
	wasted int    // bytes hashed in this segment for nothing
}

func (b *basis) newScanner(s sum.Session) *scanner {
	return &scanner{basis: b, hasher: s.NewBlock(), strong: make([]byte, 0, 20)}
}

// scan finds the blocks in seg.
func (s *scanner) scan(seg *segment) {
	if s.full > 0 {
		s.scanFull(seg)
	}
	if s.full == s.head.Count || !seg.last {
		return
	}
	// The short block matches at the very end, where the window is that short;
	// what lies under a full block is hidden by it.
	short := s.head.Count - 1
	at := len(seg.data) - s.head.Len(short)
	if at < 0 || !s.usableShort(short, seg.off+int64(at)) {
		return
	}
	window := seg.data[at:]
	s.strong = s.strong[:0]
	if sum.Weak(window) == s.weak[short] && s.is(short, window) {
		seg.hits = append(seg.hits, hit{int32(at), short})
	}
}

// usableShort is usable for the block that is not in the table.
func (s *scanner) usableShort(short int32, off int64) bool {
	return !s.inPlace || int64(short)*int64(s.head.BlockLen) >= off
}

// scanFull finds the blocks of full length.
func (s *scanner) scanFull(seg *segment) {
	n := int(s.head.BlockLen)
	limit := min(len(seg.data)-n, seg.own-1) // the last window
	s.wasted = 0
	expect := s.aligned(seg.off) // the block that is likely at off
	for off := 0; off <= limit; {
		window := sum.NewRoller(seg.data[off : off+n])
		block := s.find(seg, off, window.Sum(), expect)
		switch {
		case block >= 0:
		case s.exhausted(seg):
			// From here on only data is found that did not move.
			off += n - int((seg.off+int64(off))%int64(n))
			expect = s.aligned(seg.off + int64(off))
			continue
		case off+n <= limit && s.likely(seg, off+n, s.after(expect)):
			// One changed block: go on behind it, without rolling through it.
			off, expect = off+n, s.after(expect)
			continue
		default:
			off, block = s.roll(seg, off, limit, window, expect)
		}
		if block >= 0 {
			seg.hits = append(seg.hits, hit{int32(off), block})
			off += n
			expect = s.after(block)
		}
	}
}

// after returns the full block that follows i, or −1.
func (s *scanner) after(i int32) int32 {
	if i < 0 || i+1 >= s.full {
		return -1
	}
	return i + 1
}

// exhausted reports whether seg has had its share of vain hashing.
func (s *scanner) exhausted(seg *segment) bool { return s.wasted > waste*seg.own }

// likely reports whether the window at off has the weak sum of block expect or
// of the block whose place this is.
func (s *scanner) likely(seg *segment, off int, expect int32) bool {
	own := s.aligned(seg.off + int64(off))
	if expect < 0 && own < 0 {
		return false
	}
	weak := sum.Weak(seg.data[off : off+int(s.head.BlockLen)])
	return expect >= 0 && s.weak[expect] == weak || own >= 0 && s.weak[own] == weak
}

// roll moves window on from off, where it is, until a block is found, and
// returns where that is; or where it gave up, and −1.
func (s *scanner) roll(seg *segment, off, limit int, window sum.Roller, expect int32) (int, int32) {
	n := int(s.head.BlockLen)
	for off < limit {
		moved, at, ok := s.filter.advance(window, seg.data[off:limit], seg.data[off+n:limit+n])
		off, window = off+moved, at
		if !ok {
			break
		}
		if block := s.find(seg, off, window.Sum(), expect); block >= 0 {
			return off, block
		}
		if s.exhausted(seg) {
			return off, -1
		}
	}
	return limit + 1, -1
}

// advance moves window over the bytes that leave it and those that join it, to
// the next place where the filter has its sum.
func (f filter) advance(window sum.Roller, leave, join []byte) (moved int, at sum.Roller, ok bool) {
	join = join[:len(leave)]
	for i, old := range leave {
		window = window.Roll(old, join[i])
		if f.has(window.Sum()) {
			return i + 1, window, true
		}
	}
	return len(leave), window, false
}

// find returns a block equal to the window at off, or −1.
func (s *scanner) find(seg *segment, off int, weak uint32, expect int32) int32 {
	at := seg.off + int64(off)
	own := s.aligned(at)
	if s.inPlace && own >= 0 && s.kept[own] {
		return own // the receiver has nothing to do
	}
	window := seg.data[off : off+int(s.head.BlockLen)]
	s.strong = s.strong[:0]
	for _, i := range [...]int32{expect, own} {
		if i >= 0 && s.weak[i] == weak && s.usable(i, at) && s.is(i, window) {
			return i
		}
	}
	if s.filter.has(weak) {
		if i := s.lookUp(at, weak, window); i >= 0 {
			return i
		}
	}
	if len(s.strong) > 0 {
		s.wasted += len(window)
	}
	return -1
}

// lookUp searches the table for window.
func (s *scanner) lookUp(at int64, weak uint32, window []byte) int32 {
	i := s.heads[weak*mix>>s.headShift]
	for range candidates {
		if i < 0 {
			return -1
		}
		if s.weak[i] == weak && s.is(i, window) {
			return s.usableEqual(i, at)
		}
		i = s.nexts[i]
	}
	return -1
}

// usableEqual returns i or a block equal to it that is usable at at, or −1.
func (s *scanner) usableEqual(i int32, at int64) int32 {
	for range candidates {
		if s.usable(i, at) {
			return i
		}
		if i = s.equals[i]; i < 0 {
			break
		}
	}
	return -1
}

// is reports whether window has the strong sum of block i. It takes that of
// window once.
func (s *scanner) is(i int32, window []byte) bool {
	if len(s.strong) == 0 {
		s.strong = s.hasher.Sum(s.strong, window)
	}
	return bytes.HasPrefix(s.strong, s.strongOf(i))
}
