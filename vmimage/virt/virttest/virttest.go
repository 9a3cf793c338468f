// Package virttest is the contract of [virt.Host] as a test suite, which every driver and
// the host in memory of package vmtest pass.
package virttest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// Fixture is a host to be tested, with one machine that is the test's own.
type Fixture struct {
	Host virt.Host // the suite closes it at its end

	// UUID is of a machine that is off, whose guest heeds ACPI and has an agent.
	// Its disks are vda and vdb, each a file, one raw and one qcow2 where the
	// host has both.
	UUID string

	// Dir is a folder in which the host can make overlays and the test files, and
	// remove both.
	Dir string

	// Ready waits until the guest has booted and its agent answers. The machine
	// runs already.
	Ready func(t *testing.T)

	// Write has the guest keep some bytes under a name on disk vda, durably.
	// Read is what it reads there. The guest is ready.
	Write func(t *testing.T, name, data string)
	Read  func(t *testing.T, name string) string
}

// TestHost tests that a host keeps the contract of [virt.Host]. It waits for the guest
// to boot twice. Each case begins with what the one before it left, so the first that
// fails is the last that is run.
func TestHost(t *testing.T, open func(t *testing.T) Fixture) {
	s := &suite{Fixture: open(t)}
	for _, c := range []struct {
		rule string
		test func(t *testing.T)
	}{
		{"machines are listed by name and found by UUID", s.listed},
		{"a machine that is not known is ErrNotFound, whatever is asked", s.unknown},
		{"a call whose context has ended returns ErrLost at once, and the next one works", s.ended},
		{"the same XML is the same bytes each time", s.stable},
		{"an edited copy of a machine can be defined, replaced and undefined", s.defined},
		{"what needs a machine that is on is ErrState if it is off", s.off},
		{"metadata of a machine that is off is set, replaced and removed", s.metadata},

		{"a machine that is started paused is held before its first instruction", s.startedPaused},
		{"starting a machine that is on is ErrState", s.startedTwice},
		{"a machine that is on is not undefined", s.undefinedOn},
		{"a held machine gets overlays, and both descriptions and the files say so", s.snapshotHeld},
		{"a machine that is let go boots from its overlays", s.resumed},
		{"a commit and a pivot lead back to the base, and nothing that was written is lost", s.merged},

		{"holding and letting go are the same when done twice", s.heldTwice},
		{"the agent freezes and thaws, and thawing what is not frozen is nothing", s.frozen},
		{"metadata of a machine that is on is set, replaced and removed", s.metadata},
		{"the same XML is the same bytes each time, also when it is on", s.stable},
		{"a disk that is not there is ErrNotFound", s.noDisk},
		{"an overlay that exists is fs.ErrExist, and no disk gets one", s.overlayExists},
		{"a snapshot of one disk leaves the other", s.snapshotOne},
		{"a commit that is not ready is not pivoted, and no other begins", s.commitBusy},
		{"a commit that is aborted leaves the overlay in use, and can begin anew, also while the machine is held", s.aborted},
		{"methods may be called concurrently", s.concurrent},

		{"Watch tells of a stop by ACPI and of a start, and ends with its context", s.watched},
		{"overlays stay in use when the machine is off and on again", s.overlaidAcross},
		{"a guest shuts down when its agent is asked", s.shutdownByAgent},
		{"a machine is switched off at once", s.destroyed},
		{"after Close every call is ErrLost, and so is what was under way", s.closed},
	} {
		if !t.Run(c.rule, c.test) {
			return
		}
	}
}

// suite is the state that cases hand on.
type suite struct {
	Fixture
	overlays int // made so far, to name the next
}

// limit is how long what a guest or host does on its own may take.
const limit = 2 * time.Minute

// until waits for something to become so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.Fail(t, "after "+limit.String()+" still not so: "+what)
		}
	}
}

func (s *suite) state(t *testing.T) virt.State {
	t.Helper()
	m, err := s.Host.Machine(t.Context(), s.UUID)
	require.NoError(t, err)
	return m.State
}

func (s *suite) waitOff(t *testing.T) {
	t.Helper()
	until(t, "the machine is off", func() bool { return s.state(t) == virt.Off })
}

// parsed is one of the descriptions.
func (s *suite) parsed(t *testing.T, inactive bool) virt.Domain {
	t.Helper()
	xml, err := s.Host.XML(t.Context(), s.UUID, inactive)
	require.NoError(t, err)
	d, err := virt.Parse(xml)
	require.NoError(t, err)
	return d
}

func diskOf(t *testing.T, d virt.Domain, name string) virt.Disk {
	t.Helper()
	for _, disk := range d.Disks {
		if disk.Name == name {
			return disk
		}
	}
	require.Fail(t, "no disk "+name)
	return virt.Disk{}
}

// requireFiles is that a disk of the machine, which is on, consists of some files, by all accounts.
func (s *suite) requireFiles(t *testing.T, disk string, files ...string) {
	t.Helper()
	got, err := s.Host.Files(t.Context(), s.UUID, disk)
	require.NoError(t, err)
	require.Equal(t, files, got, "files of %s", disk)
	live := diskOf(t, s.parsed(t, false), disk)
	require.Equal(t, files[0], live.Path, "live description of %s", disk)
	require.Equal(t, files[1:], append([]string{}, live.Backing...), "beneath %s", disk)
	require.Equal(t, files[0], diskOf(t, s.parsed(t, true), disk).Path, "lasting description of %s", disk)
}

// overlay is a path for one that is not there.
func (s *suite) overlay() string {
	s.overlays++
	return filepath.Join(s.Dir, "overlay-"+string(rune('a'+s.overlays)))
}

// merge commits an overlay into the base and goes back to that.
func (s *suite) merge(t *testing.T, disk, overlay, base string) {
	t.Helper()
	require.NoError(t, s.Host.Commit(t.Context(), s.UUID, disk, 0))
	s.pivot(t, disk, overlay, base)
}

func (s *suite) pivot(t *testing.T, disk, overlay, base string) {
	t.Helper()
	until(t, "the commit is ready", func() bool {
		job, err := s.Host.BlockJob(t.Context(), s.UUID, disk)
		require.NoError(t, err)
		require.True(t, job.Commit)
		return job.Ready
	})
	require.True(t, diskOf(t, s.parsed(t, false), disk).Ready, "the live description says that it is ready")
	require.NoError(t, s.Host.Pivot(t.Context(), s.UUID, disk))
	s.requireFiles(t, disk, base)
	_, err := s.Host.BlockJob(t.Context(), s.UUID, disk)
	require.ErrorIs(t, err, virt.ErrNotFound)
	require.NoError(t, os.Remove(overlay))
}

// base is the file of a disk that has no overlay.
func (s *suite) base(t *testing.T, disk string) string {
	t.Helper()
	return diskOf(t, s.parsed(t, true), disk).Path
}
