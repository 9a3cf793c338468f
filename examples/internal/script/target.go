package script

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// CheckTarget returns an error if the folder to write into is not there. No main makes
// it: where it is missing, a disk may not be mounted.
func CheckTarget(dir string) error {
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("target: %s: %w; mount its disk, or make the folder: this program never does", dir, errors.Unwrap(err))
	}
	return nil
}
