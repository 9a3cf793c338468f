package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
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
//	     0      8  "obskKEP" and the version as one byte, 1
//	     8      8  size of the file
//	    16      8  time of the file, Unix seconds
//	    24      4  and nanoseconds
//	    28      4  length of a block
//	    32   32·n  SHA-256 of each block
//	     -     32  SHA-256 of all bytes before
type blockSums struct {
	size    int64
	modTime time.Time
	block   int
	sums    []sha256Sum
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

const keptMagic = "obskKEP\x01"

var errNotKept = errors.New("not the sums of a file's blocks")

func (s *blockSums) encode() []byte {
	b := make([]byte, 0, 64+len(s.sums)*sha256.Size)
	b = append(b, keptMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.size))
	b = binary.BigEndian.AppendUint64(b, uint64(s.modTime.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(s.modTime.Nanosecond()))
	b = binary.BigEndian.AppendUint32(b, uint32(s.block))
	for i := range s.sums {
		b = append(b, s.sums[i][:]...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func decodeKept(b []byte) (*blockSums, error) {
	const head = 32
	if len(b) < head+sha256.Size || !bytes.HasPrefix(b, []byte(keptMagic)) {
		return nil, errNotKept
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, errNotKept
	}
	s := &blockSums{
		size:    int64(binary.BigEndian.Uint64(b[8:])),
		modTime: time.Unix(int64(binary.BigEndian.Uint64(b[16:])), int64(binary.BigEndian.Uint32(b[24:]))),
		block:   int(binary.BigEndian.Uint32(b[28:])),
	}
	body = body[head:]
	if s.size < 0 || s.block < 1 || stretch%s.block != 0 || blockCount(s.size, s.block)*sha256.Size != int64(len(body)) {
		return nil, errNotKept
	}
	s.sums = make([]sha256Sum, len(body)/sha256.Size)
	for i := range s.sums {
		s.sums[i] = sha256Sum(body[i*sha256.Size:])
	}
	return s, nil
}

// keptName is the file in which the sums of an object are kept.
func keptName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16]) + ".sums"
}

// loadKept returns what is known of the blocks of what the destination has, if
// it is still what was known then.
func (c *copier) loadKept(old Info) *blockSums {
	if c.o.Signatures == "" || !old.Mode.IsRegular() || old.Size < keptMin {
		return nil
	}
	s, err := func() (*blockSums, error) {
		root, err := os.OpenRoot(c.o.Signatures)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		b, err := root.ReadFile(keptName(old.Name))
		if err != nil {
			return nil, err
		}
		return decodeKept(b)
	}()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		c.o.Logger.Warn("signature not used", "file", old.Name, "err", err)
		return nil
	case s.size != old.Size || !sameTime(s.modTime, old.ModTime):
		c.o.Logger.Debug("signature is of another version", "file", old.Name)
		return nil
	}
	return s
}

// forget drops what is known of an object of the destination.
func (c *copier) forget(name string) {
	_ = os.Remove(filepath.Join(c.o.Signatures, keptName(name))) // at worst it misleads once more
}

// keep keeps the sums of a file that has been sent. That they could not be kept
// costs time when the file changes, nothing else.
func (c *copier) keep(ctx context.Context, d *delivery, sum sha256Sum) {
	if c.o.Signatures == "" || d.info.Size < keptMin || d.afar {
		return
	}
	err := func() error {
		if d.scan == nil {
			var err error
			if d.scan, err = d.scanSource(ctx, nil); d.scan == nil {
				return err
			}
		}
		if d.scan.sum() != sum {
			return ErrChanged
		}
		if err := os.MkdirAll(c.o.Signatures, 0o700); err != nil {
			return err
		}
		root, err := os.OpenRoot(c.o.Signatures)
		if err != nil {
			return err
		}
		defer root.Close()
		return durable.WriteFile(root, keptName(d.info.Name), d.scan.encode(), 0o600)
	}()
	d.scan = nil
	if err != nil {
		c.o.Logger.Warn("signature not kept", "file", d.info.Name, "err", err)
	}
}
