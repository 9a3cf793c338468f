package transfer

import (
	"context"
	"fmt"
	"slices"
)

// RemoveAll removes a directory of a store with all that is in it, links as
// links. What is gone already is no error.
func RemoveAll(ctx context.Context, s Store, dir string) error {
	if all, ok := s.(interface {
		RemoveAll(ctx context.Context, name string) error
	}); ok {
		if err := all.RemoveAll(ctx, dir); err != nil {
			return fmt.Errorf("transfer: remove %s: %w", quote(dir), err)
		}
		return nil
	}
	o := (*Options)(nil).orDefault()
	l, err := list(ctx, s, dir, &o, false)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("transfer: remove: %w", err)
	}
	for _, info := range slices.Backward(l.infos) {
		if err := s.Remove(ctx, join(dir, info.Name)); err != nil && !isNotExist(err) {
			return fmt.Errorf("transfer: %w", fileError("remove", join(dir, info.Name), err))
		}
	}
	return nil
}
