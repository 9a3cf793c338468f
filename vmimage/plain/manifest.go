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

// ManifestName is what describes an image, in its folder.
const ManifestName = "image.json"

const (
	sumsName = "SHA256SUMS"
	schema   = "obskeep/image/v1"
)

// FileNames are the names of all files in the folder of an image, ManifestName last.
func FileNames(image vmimage.Image) []string {
	var names []string
	for _, f := range image.Files {
		names = append(names, f.Name)
	}
	return append(names, sumsName, ManifestName)
}

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

// ReadManifest reads the description of the image in the folder name, in whatever folder
// of images that lies. An error says why it cannot be relied on.
func ReadManifest(r io.Reader, name string) (vmimage.Image, error) {
	image, err := readManifest(r)
	if err == nil && (Name(image.Machine, image.ID) != name || !validID(image.ID)) {
		err = fmt.Errorf("is of %s/%s", image.Machine, image.ID)
	}
	return image, err
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
