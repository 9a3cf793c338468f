package fsstore

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"time"

	"github.com/obskeep/obskeep/transfer"
)

// The state of an upload, as it lies beside it. Integers are little-endian.
//
//	 0  8  "OBSKEEP1"
//	 8  8  size of the source, bytes
//	16  8  time of the source, Unix seconds
//	24  4  and nanoseconds
//	28  8  bytes of the upload that this state vouches for
//	36  n  the running SHA-256 of those bytes, as crypto/sha256 marshals it
//	 -  4  CRC-32C of all that
//
// A state that is torn or from another version is no state.
const (
	stateMagic = "OBSKEEP1"
	stateFixed = 36
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type state struct {
	source transfer.Info // Size and ModTime
	size   int64
	hash   hash.Hash
}

func (st state) encode() ([]byte, error) {
	b := []byte(stateMagic)
	b = binary.LittleEndian.AppendUint64(b, uint64(st.source.Size))
	b = binary.LittleEndian.AppendUint64(b, uint64(st.source.ModTime.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(st.source.ModTime.Nanosecond()))
	b = binary.LittleEndian.AppendUint64(b, uint64(st.size))
	sum, err := st.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, err
	}
	b = append(b, sum...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

var errNoState = errors.New("no state of an upload")

func decodeState(b []byte) (state, error) {
	if len(b) < stateFixed+4 || string(b[:8]) != stateMagic {
		return state{}, errNoState
	}
	body, crc := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != crc {
		return state{}, errNoState
	}
	st := state{hash: sha256.New()}
	st.source.Size = int64(binary.LittleEndian.Uint64(b[8:]))
	st.source.ModTime = time.Unix(int64(binary.LittleEndian.Uint64(b[16:])), int64(binary.LittleEndian.Uint32(b[24:])))
	st.size = int64(binary.LittleEndian.Uint64(b[28:]))
	if err := st.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(body[stateFixed:]); err != nil || st.size < 0 {
		return state{}, errNoState
	}
	return st, nil
}

func (st state) sum() [sha256.Size]byte { return [sha256.Size]byte(st.hash.Sum(nil)) }
