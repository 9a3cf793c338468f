package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/lima-vm/go-qcow2reader/image"

	"github.com/obskeep/obskeep/vmimage"
)

// beneath is a disk beneath a qcow2 file, as the library wants it. The library takes
// the first extent that it is given for that of a whole cluster: so all that it asks
// for is told as one.
type beneath struct {
	vmimage.Source
	data []vmimage.Extent // in order
}

// beneathPath is where the file beneath the one at path is, of which that says name.
// The path is not cleaned: what comes before ".." may be a link.
func beneathPath(path, name string) (string, error) {
	// QEMU takes "nbd:…" and "json:…" for more than a file.
	if protocol, _, ok := strings.Cut(name, ":"); ok && !strings.Contains(protocol, "/") {
		return "", fmt.Errorf("lies above %q, which is not the path of a file: %w", name, errors.ErrUnsupported)
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	return filepath.Dir(path) + string(filepath.Separator) + name, nil
}

func openBeneath(path, format string, above []os.FileInfo) (*beneath, error) {
	// Without a format QEMU would guess it from content that a guest may have written.
	if format == "" {
		return nil, errors.New("its format is not said")
	}
	source, err := open(path, format, above)
	if err != nil {
		return nil, err
	}
	b := &beneath{Source: source}
	for e, err := range source.Extents() {
		if err != nil {
			return nil, errors.Join(err, source.Close())
		}
		b.data = append(b.data, e)
	}
	return b, nil
}

// Extent is all of the range asked for: zero if no data is in it.
func (b *beneath) Extent(off, length int64) (image.Extent, error) {
	// The first that ends behind off.
	i := sort.Search(len(b.data), func(i int) bool { return b.data[i].Off+b.data[i].Len > off })
	zero := i == len(b.data) || b.data[i].Off >= off+length
	return image.Extent{Start: off, Length: length, Allocated: !zero, Zero: zero}, nil
}

func (b *beneath) Type() image.Type { return "" }
func (b *beneath) Readable() error  { return nil }

// unread goes with an error: the library closes what it was given.
type unread struct{ image.Image }

func (unread) Close() error { return nil }
