package vmimage

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"

	"github.com/obskeep/obskeep/diskspace"
)

// Keeper keeps the images of a Target as a Policy says.
type Keeper struct {
	Target Target

	// Policy says which images stay, and Share how many of a machine may go at
	// once, from 0 to 1; zero means half.
	Policy Policy
	Share  float64

	Space diskspace.Planner // of the machine that the target is on
}

func (k *Keeper) share() float64 { return cmp.Or(k.Share, 0.5) }

func (k *Keeper) stat(path string) (diskspace.Usage, error) {
	if k.Space.Stat != nil {
		return k.Space.Stat(path)
	}
	return diskspace.Stat(path)
}

// Room returns which images have to go, oldest first, so that what is needed fits: of
// those that the policy lets go as they are now, no more than it takes. If all that may
// go is not enough, the error says what is lacking, and is syscall.ENOSPC.
func (k *Keeper) Room(images []Image, needs ...diskspace.Need) (remove []Image, err error) {
	err = k.Space.Fits(needs...)
	shortfalls := shortfallsOf(err)
	if len(shortfalls) == 0 {
		return nil, err
	}
	may := k.mayGo(images)
	for _, short := range shortfalls {
		items, err := k.Space.Relief(short, slices.Collect(maps.Keys(may)))
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			remove = append(remove, may[item])
			delete(may, item)
		}
	}
	return remove, nil
}

// shortfallsOf are those that err joins.
func shortfallsOf(err error) (shortfalls []*diskspace.ShortfallError) {
	switch err := err.(type) {
	case *diskspace.ShortfallError:
		return []*diskspace.ShortfallError{err}
	case interface{ Unwrap() []error }:
		for _, err := range err.Unwrap() {
			shortfalls = append(shortfalls, shortfallsOf(err)...)
		}
	}
	return shortfalls
}

// mayGo are the images that the policy lets go.
func (k *Keeper) mayGo(images []Image) map[diskspace.Item]Image {
	may := make(map[diskspace.Item]Image)
	byMachine := make(map[string][]Image)
	for _, i := range images {
		byMachine[i.Machine] = append(byMachine[i.Machine], i)
	}
	for _, images := range byMachine {
		plan := k.Policy.Plan(images)
		if plan.Check(k.share()) != nil {
			continue
		}
		for _, i := range plan.Remove {
			// The path tells them apart, and on which volume they are.
			path := filepath.Join(k.Target.Dir(), i.Machine, i.ID)
			may[diskspace.Item{Path: path, Bytes: uint64(i.Allocated()), Inodes: uint64(len(i.Files)), Time: i.Taken}] = i
		}
	}
	return may
}

// Remove removes images, the first first, and returns those that are gone.
func (k *Keeper) Remove(ctx context.Context, images []Image, logger *slog.Logger) (removed []Image, err error) {
	for _, i := range images {
		if err := k.Target.Remove(ctx, i); err != nil {
			return removed, fmt.Errorf("remove %s/%s: %w", i.Machine, i.ID, err)
		}
		logger.Info("removed", "machine", i.Machine, "image", i.ID)
		removed = append(removed, i)
	}
	return removed, nil
}

// Retain removes what the policy says of a machine that has a new image, which itself
// stays: were the clock wrong, it might be older than others. If any image of the target
// cannot be told, none goes: it may be the one that others are counted from.
func (k *Keeper) Retain(ctx context.Context, made Image, logger *slog.Logger) (removed []Image, err error) {
	images, err := k.Target.Images(ctx)
	if err != nil {
		return nil, fmt.Errorf("no image is removed: %w", err)
	}
	plan := k.Policy.Plan(slices.DeleteFunc(images, func(i Image) bool { return i.Machine != made.Machine }))
	plan.Remove = slices.DeleteFunc(plan.Remove, func(i Image) bool { return i.ID == made.ID })
	if err := plan.Check(k.share()); err != nil {
		return nil, err
	}
	return k.Remove(ctx, plan.Remove, logger)
}
