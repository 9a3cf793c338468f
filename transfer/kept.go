package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/obskeep/obskeep/internal/durable"
)

// keptMin is the size from which files mostly change in place, and a signature
// is worth keeping.
const keptMin = 16 << 20

// blockSums describe a file by the SHA-256 of its blocks, which are looked for
// at their own places only.
//
// Their file form, integers in big-endian order:
//
//	offset  bytes  content
//	     0      8  "obskKEP" and the version as one byte, 2
//	     8      8  size of the file
//	    16      8  time of the file, Unix seconds
//	    24      4  and nanoseconds
//	    28      4  length of a block
//	    32     32  SHA-256 of the file
//	    64      8  device of the file when it was read here
//	    72      8  inode, 0 if these are not known
//	    80      8  time of its last change, Unix seconds
//	    88      4  and nanoseconds
//	    92     32  SHA-256 of all bytes before
//	   124   32·n  SHA-256 of each block
//	     -     32  SHA-256 of all bytes before
type blockSums struct {
	size     int64
	modTime  time.Time
	block    int
	whole    sha256Sum
	identity Identity // of the source
	sums     []sha256Sum
}

// keptBlock is the length of a block of a file: that of a file system, but for
// files of more than 4 GiB, which have 2²⁰ blocks (32 MiB of sums) up to 4 TiB.
func keptBlock(size int64) int {
	b := 4 << 10
	for b < stretch && size/int64(b) > 1<<20 {
		b *= 2
	}
	return b
}

const (
	keptMagic = "obskKEP\x02"
	keptHead  = 124 // bytes before the sums of the blocks
)

var errNotKept = errors.New("not the sums of a file's blocks")

func (s *blockSums) encode() []byte {
	b := make([]byte, 0, keptHead+(len(s.sums)+1)*sha256.Size)
	b = append(b, keptMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.size))
	b = appendTime(b, s.modTime)
	b = binary.BigEndian.AppendUint32(b, uint32(s.block))
	b = append(b, s.whole[:]...)
	b = binary.BigEndian.AppendUint64(b, s.identity.Device)
	b = binary.BigEndian.AppendUint64(b, s.identity.Inode)
	b = appendTime(b, s.identity.Changed)
	b = appendSum(b)
	for i := range s.sums {
		b = append(b, s.sums[i][:]...)
	}
	return appendSum(b)
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

func decodeTime(b []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint32(b[8:])))
}

func appendSum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// cutSum takes away what appendSum has appended.
func cutSum(b []byte) (body []byte, ok bool) {
	n := len(b) - sha256.Size
	if n < 0 {
		return nil, false
	}
	sum := sha256.Sum256(b[:n])
	return b[:n], bytes.Equal(sum[:], b[n:])
}

// decodeKeptHead decodes all but the sums of the blocks.
func decodeKeptHead(b []byte) (*blockSums, error) {
	if len(b) < keptHead || !bytes.HasPrefix(b, []byte(keptMagic)) {
		return nil, errNotKept
	}
	head, ok := cutSum(b[:keptHead])
	s := &blockSums{
		size:    int64(binary.BigEndian.Uint64(head[8:])),
		modTime: decodeTime(head[16:]),
		block:   int(binary.BigEndian.Uint32(head[28:])),
		whole:   sha256Sum(head[32:64]),
		identity: Identity{
			Device:  binary.BigEndian.Uint64(head[64:]),
			Inode:   binary.BigEndian.Uint64(head[72:]),
			Changed: decodeTime(head[80:]),
		},
	}
	if !ok || s.size < 0 || s.block < 1 || stretch%s.block != 0 {
		return nil, errNotKept
	}
	return s, nil
}

func decodeKept(b []byte) (*blockSums, error) {
	s, err := decodeKeptHead(b)
	if err != nil {
		return nil, err
	}
	body, ok := cutSum(b)
	if !ok || int64(len(body)) != keptHead+blockCount(s.size, s.block)*sha256.Size {
		return nil, errNotKept
	}
	body = body[keptHead:]
	s.sums = make([]sha256Sum, len(body)/sha256.Size)
	for i := range s.sums {
		s.sums[i] = sha256Sum(body[i*sha256.Size:])
	}
	return s, nil
}

// describes reports whether info is of the version that the sums are of.
func (s *blockSums) describes(info Info) bool {
	return info.Mode.IsRegular() && s.size == info.Size && sameTime(s.modTime, info.ModTime)
}

// keptName is the file in which the sums of an object are kept.
func keptName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16]) + ".sums"
}

// readKept returns what was known last of an object of the destination, of
// whatever version that is, and without the sums of its blocks if headOnly is
// set; nil for nothing.
func (c *copier) readKept(name string, headOnly bool) *blockSums {
	s, err := func() (*blockSums, error) {
		root, err := os.OpenRoot(c.o.Signatures)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		if !headOnly {
			b, err := root.ReadFile(keptName(name))
			if err != nil {
				return nil, err
			}
			return decodeKept(b)
		}
		f, err := root.Open(keptName(name))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, keptHead))
		if err != nil {
			return nil, err
		}
		return decodeKeptHead(b)
	}()
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return s
	case errors.Is(err, errNotKept):
		c.forget(name)
	}
	c.o.Logger.Warn("signature not used", "file", name, "err", err)
	return nil
}

// forget drops what is known of an object of the destination.
func (c *copier) forget(name string) {
	_ = os.Remove(filepath.Join(c.o.Signatures, keptName(name))) // at worst it misleads once more
}

// keep keeps the sums of a file that has been sent, and was read here. That they
// could not be kept costs time when the file changes, nothing else.
func (c *copier) keep(ctx context.Context, d *delivery, sum sha256Sum) {
	if c.o.Signatures == "" || d.info.Size < keptMin || d.afar {
		return
	}
	err := func() error {
		s, err := c.sumsOf(ctx, d, sum)
		if s == nil {
			return err
		}
		return c.writeKept(d, s)
	}()
	d.scan, d.kept = nil, nil
	if err != nil {
		c.forget(d.info.Name)
		c.o.Logger.Warn("signature not kept", "file", d.info.Name, "err", err)
	}
}

// sumsOf returns the sums of what has been sent, which is read once more only if
// they are not known; nil if it is not at hand.
func (c *copier) sumsOf(ctx context.Context, d *delivery, sum sha256Sum) (*blockSums, error) {
	if d.scan == nil {
		if s := c.readKept(d.info.Name, false); s != nil && s.size == d.info.Size && s.whole == sum {
			return s, nil
		}
		var err error
		if d.scan, err = d.scanSource(ctx, nil); d.scan == nil {
			return nil, err
		}
	}
	if d.scan.whole != sum {
		return nil, ErrChanged
	}
	return &d.scan.blockSums, nil
}

// writeKept keeps the sums of the source as it was before it was read.
func (c *copier) writeKept(d *delivery, s *blockSums) error {
	s.modTime, s.identity = d.info.ModTime, d.identity
	if err := os.MkdirAll(c.o.Signatures, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(c.o.Signatures)
	if err != nil {
		return err
	}
	defer root.Close()
	return durable.WriteFile(root, keptName(d.info.Name), s.encode(), 0o600)
}
