package plain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/obskeep/obskeep/vmimage"
)

const (
	manifestName = "image.json"
	sumsName     = "SHA256SUMS"
	schema       = "obskeep/image/v1"
)

// manifest is image.json.
type manifest struct {
	Schema string `json:"schema"`
	vmimage.Image

	// Self is the SHA-256 of this file with as many zeros in its place.
	Self string `json:"self_sha256"`
}

var noSelf = strings.Repeat("0", 2*sha256.Size)

func encodeManifest(image *vmimage.Image) ([]byte, error) {
	data, err := json.MarshalIndent(manifest{schema, *image, noSelf}, "", "  ")
	if err != nil {
		return nil, err
	}
	data = append(data, '\n')
	sum := hexSum(data)
	copy(data[bytes.LastIndex(data, []byte(noSelf)):], sum)
	return data, nil
}

func readManifest(r io.Reader) (vmimage.Image, error) {
	const most = 16 << 20 // bytes; a damaged file system may tell any size
	data, err := io.ReadAll(io.LimitReader(r, most))
	if err != nil {
		return vmimage.Image{}, bare(err)
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return vmimage.Image{}, err
	}
	if m.Schema != schema {
		return vmimage.Image{}, fmt.Errorf("its schema is %q, not %q", m.Schema, schema)
	}
	at := bytes.LastIndex(data, []byte(m.Self))
	if len(m.Self) != len(noSelf) || at < 0 {
		return vmimage.Image{}, errSelf
	}
	copy(data[at:], noSelf)
	if hexSum(data) != m.Self {
		return vmimage.Image{}, errSelf
	}
	names := make([]string, len(m.Files))
	for i, f := range m.Files {
		names[i] = f.Name
	}
	return m.Image, checkNames(names)
}

var errSelf = errors.New("is not as it was written")

// encodeSums is SHA256SUMS, as sha256sum writes it.
func encodeSums(files []vmimage.File) []byte {
	var b bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&b, "%s  %s\n", f.SHA256, f.Name)
	}
	return b.Bytes()
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
