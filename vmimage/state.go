package vmimage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// state reads what a machine has besides its disks.
func (e *Engine) state(p Planned) ([]Small, error) {
	var files []Small
	if p.Domain.NVRAM != "" {
		data, err := os.ReadFile(p.Domain.NVRAM)
		// A machine that was never started has none yet.
		if err != nil && (p.State != virt.Off || !errors.Is(err, fs.ErrNotExist)) {
			return nil, fmt.Errorf("UEFI variables: %w", err)
		}
		if err == nil {
			files = append(files, Small{"nvram", data})
		}
	}
	if p.Domain.TPM {
		dir := os.DirFS(e.c.TPM)
		err := fs.WalkDir(dir, p.Domain.UUID, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || filepath.Base(name) == ".lock" {
				return err
			}
			data, err := fs.ReadFile(dir, name)
			rest := strings.TrimPrefix(name, p.Domain.UUID+"/")
			files = append(files, Small{"tpm-" + strings.ReplaceAll(rest, "/", "+"), data})
			return err
		})
		if err != nil && (p.State != virt.Off || !errors.Is(err, fs.ErrNotExist)) {
			return nil, fmt.Errorf("TPM state: %w", err)
		}
	}
	return files, nil
}
