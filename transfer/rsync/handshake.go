package rsync

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
)

// Compatibility flags, of the server.
const (
	compatIncremental = 1 << iota
	compatLinkTimes
	compatConvert
	compatSafeList
	compatNoAttributeShortcut
	compatSeedFirst
	compatPartialInPlace
	compatVarint
	compatIDZero
)

// handshake agrees with the far side on everything. args are what a server
// was started with.
func (s *session) handshake(args *serverArgs) error {
	s.w.Int(int32(s.o.version()))
	theirs := s.r.Int()
	if err := s.r.Err(); err != nil {
		return err
	}
	if theirs < 20 || theirs > 40 {
		return fmt.Errorf("%w: it begins with %s", ErrNotRsync, quote(s.firstWords(theirs)))
	}
	s.version = min(s.o.version(), int(theirs))
	if s.version < minVersion {
		return fmt.Errorf("the far side speaks version %d of the protocol, which is older than %d", theirs, minVersion)
	}
	s.r.SetVersion(s.version)
	s.w.SetVersion(s.version)
	if s.version >= 30 {
		if s.server {
			s.compat = compatFor(args)
			s.w.Varint(s.compat)
		} else {
			s.compat = s.r.Varint()
			if s.incremental() && (s.sender || !s.o.incremental()) {
				return errors.New("the far side wants incremental recursion, which it was not offered")
			}
		}
	}
	if err := s.negotiate(); err != nil {
		return err
	}
	if s.server {
		s.sum.Seed = s.o.Seed
		if s.sum.Seed == 0 {
			var b [4]byte
			_, _ = rand.Read(b[:]) // never fails
			s.sum.Seed = int32(binary.LittleEndian.Uint32(b[:]) | 1)
		}
		s.w.Int(s.sum.Seed)
	} else {
		s.sum.Seed = s.r.Int()
	}
	s.sum.Version = s.version
	s.sum.SeedLast = s.compat&(compatSeedFirst|compatVarint) == 0
	if err := s.r.Err(); err != nil {
		return err
	}
	if s.version >= 30 || s.server {
		s.w.Multiplex()
	}
	if s.version >= 30 || !s.server {
		s.r.Multiplex(s.message)
	}
	return s.w.Err()
}

// incremental reports whether lists come piece by piece.
func (s *session) incremental() bool { return s.compat&compatIncremental != 0 }

// compatFor are the flags for a client. Pieces of lists are read here, but not sent.
func compatFor(args *serverArgs) int32 {
	flags := int32(compatLinkTimes)
	if !args.send && args.incremental() && strings.ContainsRune(args.capabilities, 'i') {
		flags |= compatIncremental
	}
	for letter, flag := range map[rune]int32{
		'f': compatSafeList, 'x': compatNoAttributeShortcut, 'C': compatSeedFirst,
		'I': compatPartialInPlace, 'v': compatVarint, 'u': compatIDZero,
	} {
		if strings.ContainsRune(args.capabilities, letter) {
			flags |= flag
		}
	}
	return flags
}

// firstWords shows what came instead of a version.
func (s *session) firstWords(first int32) string {
	text := binary.LittleEndian.AppendUint32(nil, uint32(first))
	for len(text) < 80 && !bytes.ContainsRune(text, '\n') {
		b := s.r.Byte()
		if s.r.Err() != nil {
			break
		}
		text = append(text, b)
	}
	return strings.TrimSpace(string(text))
}

// negotiate chooses the checksum and the compression.
func (s *session) negotiate() error {
	name := "md5"
	if s.version < 30 {
		name = "md4"
	}
	if len(s.o.Compress) > 0 {
		s.method = "zlib"
		if len(s.o.Compress) == 1 {
			s.method = s.o.Compress[0]
		}
	}
	negotiated := s.compat&compatVarint != 0
	sums, methods := negotiated && len(s.o.Checksums) != 1, negotiated && len(s.o.Compress) > 1
	if sums {
		s.w.Vstring(strings.Join(s.o.checksums(), " "))
	} else if len(s.o.Checksums) == 1 {
		name = s.o.Checksums[0]
	}
	if methods {
		s.w.Vstring(strings.Join(s.o.Compress, " "))
	}
	if sums {
		theirs := s.r.Vstring(maxNames)
		if err := s.choose(&name, "checksum", s.o.checksums(), theirs); err != nil {
			return err
		}
	}
	if methods {
		theirs := s.r.Vstring(maxNames)
		if err := s.choose(&s.method, "compression", s.o.Compress, theirs); err != nil {
			return err
		}
	}
	var ok bool
	if s.sum.Algorithm, ok = sum.ByName(name); !ok {
		return fmt.Errorf("checksum %s is not supported", quote(name))
	}
	if s.method != "" && !slices.Contains(compressors, s.method) {
		return fmt.Errorf("compression %s is not supported: %w", s.method, errors.ErrUnsupported)
	}
	return nil
}

// maxNames bounds a list of names, bytes.
const maxNames = 4096

// choose takes the first name of the client's list that the server has, too.
func (s *session) choose(name *string, what string, ours []string, text string) error {
	if err := s.r.Err(); err != nil {
		return err
	}
	theirs := strings.Fields(text)
	first, second := ours, theirs
	if s.server {
		first, second = theirs, ours
	}
	for _, n := range first {
		if n == "xxhash" {
			n = "xxh64"
		}
		if slices.Contains(second, n) {
			*name = n
			return nil
		}
	}
	return fmt.Errorf("no %s in common: here %s, there %s", what, strings.Join(ours, " "), quote(text))
}

// listOptions is the form of a file list in this session.
func (s *session) listOptions() flist.Options {
	o := flist.Options{
		Version: s.version, Varint: s.compat&compatVarint != 0, IDZero: s.compat&compatIDZero != 0, SafeErrors: s.compat&compatSafeList != 0,
		Owner: s.o.Owner, Group: s.o.Group, Devices: s.o.Devices, Specials: s.o.Specials, Links: s.o.Links, HardLinks: s.o.HardLinks,
		NumericIDs: s.o.NumericIDs, Relative: s.o.Relative, Incremental: s.incremental(),
	}
	if s.o.Checksum {
		o.SumLen = s.sum.Algorithm.Size()
	}
	return o
}
