package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Signature describes a basis well enough to find its blocks in a source,
// without the basis: rsync's sums. It is a plain value; see [Sign].
//
// The zero Signature is that of an empty basis. Functions read a Signature
// and never change it, so it may be used by several at once.
//
// # File form
//
// WriteTo writes and [ReadSignature] reads, integers in big-endian order:
//
//	offset  bytes  content
//	     0      8  "obskSIG" and the version as one byte, 1
//	     8      8  Size
//	    16      4  BlockSize
//	    20   40·n  Blocks, n = ⌈Size/BlockSize⌉: 8 bytes Weak, 32 bytes Strong
//	20+40·n    32  SHA-256 of all bytes before
//
// A later version of the form has another version byte; this package goes on
// reading all earlier ones.
type Signature struct {
	Size      int64      // of the basis, in bytes
	BlockSize int        // in bytes; the last block may be shorter
	Blocks    []BlockSum // in the order of the basis
}

// BlockSum holds the checksums of one block of a basis.
type BlockSum struct {
	// Weak is the rolling checksum that finds where a block may be: the
	// polynomial of Karp and Rabin with the base 0x9e3779b97f4a7c15, modulo
	// 2⁶⁴.
	Weak uint64

	// Strong is the SHA-256 of the block, and decides whether it is there.
	//
	// It is not cut short. With 16 of its bytes, whoever chooses the content
	// of a file, say the user of an imaged machine, finds two different
	// blocks with one checksum in 2⁶⁴ steps, which can be bought: one block in
	// the basis, the other in the source, and the delta keeps the wrong one.
	// A hash of the whole file would notice, but could not repair it; a far
	// side that cannot hash would not notice. With 32 bytes it takes 2¹²⁸
	// steps. An accident is out of the question either way: a tebibyte
	// of offsets against 2²⁰ blocks meets one of 2²⁵⁶ checksums with
	// probability 2⁻¹⁹⁶.
	Strong [sha256.Size]byte
}

// Bounds of a block size, in bytes.
const (
	MinBlockSize = 64       // a block shorter than its 40 bytes of checksums saves nothing
	MaxBlockSize = 16 << 20 // Delta and Patch hold a few blocks in memory
)

// ErrSignature is returned for a signature that is damaged, not one at all,
// or of a version this package does not know. Make a new one.
var ErrSignature = errors.New("invalid signature")

// BlockSize returns a block size for a basis of so many bytes when nothing is
// known of it but that: the power of two at or above √size, from 2 KiB to
// 128 KiB. Above 128 GiB it doubles with the size, up to MaxBlockSize.
//
// The arithmetic: a signature takes 40 bytes a block, and each of k separate
// edits costs about one block of literal data, in all 40·size/b + k·b bytes,
// least at b = √(40·size/k). So √size is best for forty edits, and within a
// quarter of the least from 10 to 160. A power of two keeps the page-sized
// edits of images and databases inside one block.
//
// Below 2 KiB the signature would exceed 2 % of the file. At the upper end
// bytes speak against more than 128 KiB and memory for it: [Delta] takes 56
// to 72 bytes a block with the signature. With at most 2²⁰ blocks that is
// 56 MiB for any file of up to 16 TiB.
//
// For a file whose edits grow with its size, as scattered over a disk image,
// smaller blocks are better whatever the size: with one page of 4 KiB
// changed in a hundred, √(40·4096/0.01) = 4 KiB.
func BlockSize(size int64) int {
	const (
		least     = 2 << 10
		most      = 128 << 10
		maxBlocks = 1 << 20
	)
	b := int64(least)
	for b < most && b*b < size {
		b *= 2
	}
	for b < MaxBlockSize && b*maxBlocks < size {
		b *= 2
	}
	return int(b)
}

// Sign reads basis to its end and returns its signature. blockSize is from
// MinBlockSize to MaxBlockSize bytes; for a file of known size, use
// [BlockSize]. It holds one block in memory, or 256 KiB, and 40 to 80 bytes for
// each block read, as the slice grows.
func Sign(basis io.Reader, blockSize int) (*Signature, error) {
	if err := checkBlockSize(blockSize); err != nil {
		return nil, fmt.Errorf("transfer: sign: %w", err)
	}
	s := &Signature{BlockSize: blockSize}
	buf := make([]byte, max(1, 256<<10/blockSize)*blockSize)
	for {
		n, err := readUpTo(basis, buf)
		s.Size += int64(n)
		for b := buf[:n]; len(b) > 0; {
			block := b[:min(blockSize, len(b))]
			s.Blocks = append(s.Blocks, BlockSum{Weak: weakSum(block), Strong: sha256.Sum256(block)})
			b = b[len(block):]
		}
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("transfer: sign: %w", err)
		}
	}
}

func checkBlockSize(n int) error {
	if n < MinBlockSize || n > MaxBlockSize {
		return fmt.Errorf("block size %d is not from %d to %d", n, MinBlockSize, MaxBlockSize)
	}
	return nil
}

// blockCount returns how many blocks of blockSize cover size bytes.
func blockCount(size int64, blockSize int) int64 {
	n := size / int64(blockSize)
	if size%int64(blockSize) != 0 {
		n++
	}
	return n
}

// check returns an ErrSignature unless the fields of s agree.
func (s *Signature) check() error {
	if s.Size == 0 && s.BlockSize == 0 && len(s.Blocks) == 0 {
		return nil
	}
	if err := checkBlockSize(s.BlockSize); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if s.Size < 0 {
		return fmt.Errorf("%w: size %d", ErrSignature, s.Size)
	}
	if want := blockCount(s.Size, s.BlockSize); int64(len(s.Blocks)) != want {
		return fmt.Errorf("%w: %d blocks, not the %d of %d bytes", ErrSignature, len(s.Blocks), want, s.Size)
	}
	return nil
}

const (
	signatureMagic     = "obskSIG\x01"
	signatureHeaderLen = len(signatureMagic) + 8 + 4
	blockSumLen        = 8 + sha256.Size
)

// WriteTo writes the file form of s and returns the number of bytes. A
// signature whose fields disagree is an ErrSignature, and nothing is written.
func (s *Signature) WriteTo(w io.Writer) (int64, error) {
	if err := s.check(); err != nil {
		return 0, fmt.Errorf("transfer: write signature: %w", err)
	}
	hash := sha256.New()
	counted := &countingWriter{w: w}
	bw := bufio.NewWriterSize(counted, 64<<10)
	// bw keeps the first error of w and returns it from Flush.
	both := io.MultiWriter(hash, bw)

	head := make([]byte, 0, signatureHeaderLen)
	head = append(head, signatureMagic...)
	head = binary.BigEndian.AppendUint64(head, uint64(s.Size))
	head = binary.BigEndian.AppendUint32(head, uint32(s.BlockSize))
	both.Write(head)

	var sum [blockSumLen]byte
	for i := range s.Blocks {
		binary.BigEndian.PutUint64(sum[:], s.Blocks[i].Weak)
		copy(sum[8:], s.Blocks[i].Strong[:])
		if _, err := both.Write(sum[:]); err != nil {
			break
		}
	}
	bw.Write(hash.Sum(nil))
	if err := bw.Flush(); err != nil {
		return counted.n, fmt.Errorf("transfer: write signature: %w", err)
	}
	return counted.n, nil
}

// ReadSignature reads the file form of a signature, to the end of r. What is
// damaged, cut short or followed by more bytes is an ErrSignature. Memory
// grows with the bytes that r delivers, not with what its header claims.
func ReadSignature(r io.Reader) (*Signature, error) {
	s, err := readSignature(r)
	if err != nil {
		return nil, fmt.Errorf("transfer: read signature: %w", err)
	}
	return s, nil
}

func readSignature(r io.Reader) (*Signature, error) {
	hash := sha256.New()
	var head [signatureHeaderLen]byte
	if err := readAll(r, head[:]); err != nil {
		return nil, err
	}
	hash.Write(head[:])
	if name := head[:len(signatureMagic)-1]; !bytes.Equal(name, []byte(signatureMagic[:len(name)])) {
		return nil, fmt.Errorf("%w: it begins with %q", ErrSignature, name)
	}
	if version := head[len(signatureMagic)-1]; version != 1 {
		return nil, fmt.Errorf("%w: version %d", ErrSignature, version)
	}
	size := binary.BigEndian.Uint64(head[8:])
	blockSize := binary.BigEndian.Uint32(head[16:])
	s := &Signature{}
	if size != 0 || blockSize != 0 {
		if blockSize > MaxBlockSize || checkBlockSize(int(blockSize)) != nil || size > math.MaxInt64 {
			return nil, fmt.Errorf("%w: %d bytes in blocks of %d", ErrSignature, size, blockSize)
		}
		s.Size, s.BlockSize = int64(size), int(blockSize)
		if err := s.readBlocks(io.TeeReader(r, hash)); err != nil {
			return nil, err
		}
	}
	var sum [sha256.Size]byte
	if err := readAll(r, sum[:]); err != nil {
		return nil, err
	}
	if [sha256.Size]byte(hash.Sum(nil)) != sum {
		return nil, fmt.Errorf("%w: wrong checksum", ErrSignature)
	}
	switch _, err := readUpTo(r, make([]byte, 1)); err {
	case io.EOF:
		return s, nil
	case nil:
		return nil, fmt.Errorf("%w: more bytes after its end", ErrSignature)
	default:
		return nil, err
	}
}

func (s *Signature) readBlocks(r io.Reader) error {
	buf := make([]byte, 1024*blockSumLen)
	for left := blockCount(s.Size, s.BlockSize); left > 0; {
		b := buf[:min(left, 1024)*blockSumLen]
		if err := readAll(r, b); err != nil {
			return err
		}
		for ; len(b) > 0; b = b[blockSumLen:] {
			s.Blocks = append(s.Blocks, BlockSum{
				Weak:   binary.BigEndian.Uint64(b),
				Strong: [sha256.Size]byte(b[8:blockSumLen]),
			})
			left--
		}
	}
	return nil
}

// readAll fills p; an end before that is an ErrSignature.
func readAll(r io.Reader, p []byte) error {
	n, err := readUpTo(r, p)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		return fmt.Errorf("%w: cut short", ErrSignature)
	}
	return err
}

// readUpTo reads until p is full or r ends. It returns io.EOF only for the end
// of r. io.ReadFull would not do: it reports a short end as
// io.ErrUnexpectedEOF, which a reader may itself return for a source that was
// cut, an HTTP body for one.
func readUpTo(r io.Reader, p []byte) (n int, err error) {
	empty := 0
	for n < len(p) {
		m, err := r.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
		if m > 0 {
			empty = 0
		} else if empty++; empty == 100 {
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
