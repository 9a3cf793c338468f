package fsstore

import (
	"crypto/sha256"
	"time"

	"github.com/obskeep/obskeep/transfer"
)

// IsState reports whether b is taken for the state of an upload, and encodes
// it again if so.
func IsState(b []byte) (again []byte, ok bool) {
	st, err := decodeState(b)
	if err != nil {
		return nil, false
	}
	again, err = st.encode()
	return again, err == nil
}

// State encodes one.
func State(size int64, data []byte) []byte {
	h := sha256.New()
	h.Write(data)
	b, err := state{source: transfer.Info{Size: size, ModTime: time.Unix(size, 7)}, size: int64(len(data)), hash: h}.encode()
	if err != nil {
		panic(err)
	}
	return b
}
