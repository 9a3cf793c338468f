package keep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/obskeep/obskeep/transfer"
)

// originName is a file in the top of the target that says whose days it holds:
// a JSON object with the origin for each pattern of day folders.
const originName = transfer.ReservedPrefix + "origin"

// OriginError says that the target holds the days of another source, which
// would become revisions of one another.
type OriginError struct {
	Target string // as a person finds it
	Holds  string // the origin of what is there
	Origin string // that of the configuration
	File   string // that remembers it
}

func (e *OriginError) Error() string {
	return fmt.Sprintf("%s holds the days of %s, not of %s; name another target, or remove %s if they are the same days",
		e.Target, e.Holds, e.Origin, e.File)
}

// origins are those of what the target holds, by the patterns of the folders.
func (k *Keeper) origins(ctx context.Context) (map[string]string, error) {
	r, err := k.c.Target.Open(ctx, originName, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	var origins map[string]string
	if err == nil {
		defer r.Close()
		err = json.NewDecoder(r).Decode(&origins)
	}
	if err == nil && origins == nil {
		err = errors.New("it says nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.place(originName), err)
	}
	return origins, nil
}

// checkOrigin returns an *OriginError if the target holds other days.
func (k *Keeper) checkOrigin(ctx context.Context) error {
	if k.c.Origin == "" {
		return nil
	}
	origins, err := k.origins(ctx)
	if err != nil {
		return err
	}
	if holds := origins[k.c.TargetDays.String()]; holds != "" && holds != k.c.Origin {
		return &OriginError{k.place("."), holds, k.c.Origin, k.place(originName)}
	}
	return nil
}

// claim has the target remember whose days it holds.
func (k *Keeper) claim(ctx context.Context) error {
	if k.c.Origin == "" {
		return nil
	}
	origins, err := k.origins(ctx)
	if err != nil || origins[k.c.TargetDays.String()] == k.c.Origin {
		return err
	}
	origins[k.c.TargetDays.String()] = k.c.Origin
	text, err := json.MarshalIndent(origins, "", "\t")
	if err != nil {
		return err
	}
	info := transfer.Info{Name: originName, Size: int64(len(text)), Mode: 0o644, ModTime: k.c.Now()}
	_, err = transfer.Push(ctx, k.c.Target, info, bytes.NewReader(text), nil)
	return err
}
