package keep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/transfer"
)

// ManifestName is the manifest of a kept day, in its folder.
const ManifestName = "SHA256SUMS.obskeep"

// Config says what to keep where. The first four fields are required.
type Config struct {
	Source     transfer.Store
	SourceDays julian.Pattern // of day folders, from the top of Source: "%Y/%j"
	Target     transfer.Tree
	TargetDays julian.Pattern // from the top of Target

	// Settled is how long nothing in a day may have changed for it to be
	// complete. Zero means 10 minutes, or nothing if there is a marker.
	Settled time.Duration

	// Marker is a file in a day's folder that says that the day is complete.
	// Empty means none.
	Marker string

	// CatchUp is how many days back, at most, days are looked for that were
	// missed. Zero means 30; a negative number means none.
	CatchUp int

	// Keep is the number of days to keep. Zero means all.
	Keep int

	// Origin says where the source is, as a person would: the target remembers
	// it, and is not mixed with the days of another. Empty means that nobody asks.
	Origin string

	// Reserve is what stays free in the target, if that can tell how much
	// there is (diskspace.Stater). Zero means that days must just fit.
	Reserve diskspace.Reserve

	// Transfer adjusts the copying; From, To and Verify are set here.
	Transfer *transfer.Options

	// Now is the clock of this machine. Nil means time.Now.
	Now func() time.Time

	// Logger gets each step. Nil means none.
	Logger *slog.Logger
}

// Keeper keeps days between two stores. One Run at a time: the caller locks.
type Keeper struct{ c Config }

// New checks the configuration.
func New(c Config) (*Keeper, error) {
	switch {
	case c.Source == nil || c.Target == nil:
		return nil, errors.New("keep: source and target are required")
	case !c.SourceDays.NamesDay():
		return nil, fmt.Errorf("keep: source pattern %q does not name a day: it needs %%Y and %%j, or %%Y, %%m and %%d", c.SourceDays)
	case !c.TargetDays.NamesDay():
		return nil, fmt.Errorf("keep: target pattern %q does not name a day: it needs %%Y and %%j, or %%Y, %%m and %%d", c.TargetDays)
	case hasVerb(c.SourceDays, 'H') || hasVerb(c.TargetDays, 'H'):
		return nil, errors.New("keep: a pattern has %H: a day's folder is not an hour's")
	case strings.Contains(c.TargetDays.String(), revMark):
		return nil, fmt.Errorf("keep: target pattern %q has %s in it, which marks revisions", c.TargetDays, revMark)
	case c.Keep < 0:
		return nil, fmt.Errorf("keep: the number of days to keep is %d: it cannot be negative", c.Keep)
	case c.Marker != "" && (transfer.ValidName(c.Marker) != nil || c.Marker == "."):
		return nil, fmt.Errorf("keep: marker %q is not the name of a file in the day's folder", c.Marker)
	}
	if c.Settled == 0 && c.Marker == "" {
		c.Settled = 10 * time.Minute
	}
	switch {
	case c.CatchUp == 0:
		c.CatchUp = 30
	case c.CatchUp < 0:
		c.CatchUp = 0
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{c}, nil
}

// options are those of the caller for one mirror.
func (k *Keeper) options(from, to string) *transfer.Options {
	var o transfer.Options
	if k.c.Transfer != nil {
		o = *k.c.Transfer
	}
	o.From, o.To, o.Logger = from, to, k.c.Logger
	o.Verify = transfer.VerifyTransferred
	o.Exclude = append([]string{"/" + ManifestName}, o.Exclude...)
	return &o
}

// sourceNow is the time by the clock that stamps the source's files: a clock
// that is an hour off would make days complete too early or too late.
func (k *Keeper) sourceNow(ctx context.Context) (time.Time, error) {
	if clock, ok := k.c.Source.(transfer.Clock); ok {
		now, err := clock.Now(ctx)
		if !errors.Is(err, errors.ErrUnsupported) {
			return now, err
		}
	}
	return k.c.Now(), nil
}

// place is a name of the target as a person finds it.
func (k *Keeper) place(name string) string {
	if p, ok := k.c.Target.(interface{ Path() string }); ok {
		return path.Join(p.Path(), name)
	}
	return name
}

// The names beside a day's folder.

const revMark = ".rev"

const (
	stagePrefix = transfer.ReservedPrefix + "stage-"
	trashPrefix = transfer.ReservedPrefix + "trash-"
)

// beside puts a prefix before the last element.
func beside(dir, prefix string) string {
	return path.Join(path.Dir(dir), prefix+path.Base(dir))
}

// revName is the folder of a day's nth state: the first has the day's name.
func revName(dir string, n int) string {
	if n <= 1 {
		return dir
	}
	return dir + revMark + strconv.Itoa(n)
}

// cutRev takes a folder's name apart into the day's and the revision.
func cutRev(name string) (dir string, n int) {
	i := strings.LastIndex(name, revMark)
	if i < 0 {
		return name, 1
	}
	n, err := strconv.Atoi(name[i+len(revMark):])
	if err != nil || n < 2 || revName(name[:i], n) != name {
		return name, 1
	}
	return name[:i], n
}

// hasVerb reports whether a pattern has a verb, a percent sign being no verb.
func hasVerb(p julian.Pattern, verb byte) bool {
	return strings.Contains(strings.ReplaceAll(p.String(), "%%", ""), "%"+string(verb))
}
