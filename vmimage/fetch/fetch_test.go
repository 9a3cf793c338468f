package fetch_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/fetch"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// flip changes a byte of a file, but not its time.
func flip(t testing.TB, path string) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[len(data)/3] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.NoError(t, os.Chtimes(path, time.Time{}, info.ModTime()))
}

// A byte that is wrong at the source keeps the image from being adopted, is named, and alone
// the file that it is in is fetched anew, once it is right.
func TestRun_AdoptsNothingWithAWrongByte(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"vda.img", "vdb.img", "domain.xml", "SHA256SUMS"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.both(t, at("web01", 0), guest(1, 2*mib), guest(2, mib))
			image := put(t, w.there, at("web01", 7), guest(3, 2*mib), guest(4, mib))
			wrong := filepath.Join(w.there, "web01", image.ID, file)
			flip(t, wrong)
			for range 2 {
				results, err := w.run(t)
				require.NoError(t, err)
				require.Len(t, results, 1)
				rot, ok := errors.AsType[*vmimage.RotError](results[0].Err)
				require.True(t, ok, "%v", results[0].Err)
				require.Equal(t, file, rot.File)
				require.Equal(t, report.Failed, results[0].Job().Outcome)
				require.Equal(t, []string{"web01/" + at("web01", 0).ID}, ids(t, w.here))
			}
			flip(t, wrong)
			images, stats := w.fetched(t)
			require.Len(t, images, 1)
			info, err := os.Stat(wrong)
			require.NoError(t, err)
			require.Equal(t, info.Size(), stats.Literal)
			require.Len(t, ids(t, w.here), 2)
			require.Empty(t, stages(t, w.here))
		})
	}
}

// What is here already is not fetched again.
func TestRun_TwiceFetchesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, w.there, at("web01", 0), guest(1, mib))
	put(t, w.there, at("web01", 7), guest(2, mib))
	put(t, w.there, at("db", 3), guest(3, mib))
	images, _ := w.fetched(t)
	var names []string
	for _, i := range images {
		names = append(names, plain.Name(i.Machine, i.ID))
	}
	require.Equal(t, []string{"web01/" + at("", 0).ID, "db/" + at("", 3).ID, "web01/" + at("", 7).ID}, names, "oldest first")
	before := tree(t, w.here)
	images, stats := w.fetched(t)
	require.Empty(t, images)
	require.Zero(t, stats)
	require.Empty(t, cmp.Diff(before, tree(t, w.here)))
}

// An image that is here is never written to, not even when a disk at the source looks as if it
// were the one that is here, by size and time, but has another mode and other bytes.
func TestRun_NeverWritesToWhatIsHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	older := w.both(t, at("web01", 0), guest(1, 2*mib))
	image := put(t, w.there, at("web01", 7), changed(2, guest(1, 2*mib), 0.1))
	path := filepath.Join(w.there, "web01", image.ID, "vda.img")
	require.NoError(t, os.Chtimes(path, time.Time{}, older.Taken.Add(time.Nanosecond)))
	require.NoError(t, os.Chtimes(filepath.Join(w.here, "web01", older.ID, "vda.img"), time.Time{}, older.Taken))
	require.NoError(t, os.Chmod(path, 0o600))
	folder := filepath.Join(w.here, "web01", older.ID)
	before := tree(t, folder)
	images, _ := w.fetched(t)
	require.Len(t, images, 1)
	require.Empty(t, cmp.Diff(before, tree(t, folder)))
	require.Len(t, ids(t, w.here), 2)
}

// Fetched is what would stay if all images of both sides were here.
func TestPlan_FetchesWhatThePolicyWouldKeep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy = vmimage.Policy{Last: 2, Monthly: 2}
	var all []vmimage.Image
	for _, days := range []int{0, 7, 14, 21} {
		i := at("web01", days)
		if days == 0 {
			w.both(t, i, guest(1, mib))
		} else {
			put(t, w.there, i, guest(uint64(days), mib))
		}
		all = append(all, i)
	}
	put(t, w.here, at("gone", 1), guest(9, mib))
	p, err := w.fetcher(t).Plan(t.Context())
	require.NoError(t, err)
	var fetch []string
	for _, i := range p.Fetch {
		fetch = append(fetch, i.ID)
	}
	require.Equal(t, []string{all[2].ID, all[3].ID}, fetch)
	require.Empty(t, p.Remove, "the first is the newest of its month")
	allocated, size := p.Bytes()
	require.Equal(t, int64(2*mib), size/mib*mib)
	require.Less(t, allocated, size)
	require.Equal(t, []string{"gone", "web01"}, []string{p.Machines[0].Name, p.Machines[1].Name})
	require.Equal(t, []int{0, 4}, []int{p.Machines[0].Images, p.Machines[1].Images})
	require.Equal(t, all[3].ID, p.Machines[1].Newest.ID)
	require.Equal(t, 9*day, p.Machines[1].Age)

	w.policy = vmimage.Policy{Last: 2}
	put(t, w.there, at("behind", 0), guest(1, mib)) // the source has lost what is newer
	put(t, w.here, at("behind", 7), guest(1, mib))
	put(t, w.here, at("behind", 14), guest(1, mib))
	p, err = w.fetcher(t).Plan(t.Context())
	require.NoError(t, err)
	require.Len(t, p.Fetch, 2)
	require.Len(t, p.Remove, 1)
	require.Equal(t, all[0].ID, p.Remove[0].ID)
	w.fetched(t)
	require.Equal(t, []string{"behind/" + at("", 7).ID, "behind/" + at("", 14).ID, "gone/" + at("", 1).ID, "web01/" + all[2].ID, "web01/" + all[3].ID}, ids(t, w.here))
}

// What is damaged at the source, or not verified there, is named and not fetched; the others are.
func TestRun_NamesWhatIsDamagedAtTheSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 4 {
		put(t, w.there, at("web01", i), guest(uint64(i), mib))
	}
	rotten := filepath.Join(w.there, "web01", at("", 0).ID, "image.json")
	flip(t, rotten)
	require.NoError(t, os.Remove(filepath.Join(w.there, "web01", at("", 1).ID, "image.json")))
	target, err := plain.Open(w.there, nil)
	require.NoError(t, err)
	defer target.Close()
	_, err = target.Store(t.Context(), at("web01", 5), vmimage.Content{})
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(w.there, "web01", "notes"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(w.there, "lost+found"), 0o700))

	results, err := w.run(t)
	require.NoError(t, err)
	outcomes := make(map[string]report.Outcome)
	for _, r := range results {
		job := r.Job()
		outcomes[job.Name] = job.Outcome
		if job.Outcome == report.Warning {
			damaged, ok := errors.AsType[*fetch.DamagedError](job.Err)
			require.True(t, ok)
			require.Contains(t, damaged.Error(), job.Name+" at the source ")
		}
	}
	require.Empty(t, cmp.Diff(map[string]report.Outcome{
		"web01/" + at("", 0).ID: report.Warning, "web01/" + at("", 1).ID: report.Warning, "web01/" + at("", 5).ID: report.Warning,
		"web01/" + at("", 2).ID: report.OK, "web01/" + at("", 3).ID: report.OK,
	}, outcomes))
	require.Len(t, ids(t, w.here), 2)
}

// An image here that is damaged is a failure, and not fetched over.
func TestRun_NamesWhatIsDamagedHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.both(t, at("web01", 0), guest(1, mib))
	w.both(t, at("web01", 7), guest(2, mib))
	flip(t, filepath.Join(w.here, "web01", at("", 0).ID, "image.json"))
	flip(t, filepath.Join(w.here, "web01", at("", 7).ID, "vda.img"))
	_, err := w.target.Verify(t.Context(), at("web01", 7))
	require.Error(t, err)
	results, err := w.run(t)
	require.NoError(t, err)
	require.Len(t, results, 3)
	for _, r := range results[1:] {
		require.Equal(t, report.Failed, r.Job().Outcome)
		require.ErrorContains(t, r.Err, "remove its folder")
		require.NoError(t, os.RemoveAll(filepath.Join(w.here, "web01", r.ID)))
	}
	images, _ := w.fetched(t)
	require.Len(t, images, 2)
}

// An image that the source removes after the plan was made is told of, and is no failure;
// nothing of it stays here, and the others are fetched.
func TestRun_TellsOfAnImageThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, w.there, at("web01", 0), guest(1, mib))
	put(t, w.there, at("web01", 7), guest(2, mib))
	_, err := w.target.Stage(at("web01", 0)) // of a run that was cut
	require.NoError(t, err)
	f := w.fetcher(t)
	p, err := f.Plan(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(w.there, "web01", at("", 0).ID)))
	var jobs []report.Job
	require.NoError(t, f.Run(t.Context(), p, func(r fetch.Result) { jobs = append(jobs, r.Job()) }))
	require.Len(t, jobs, 2)
	require.Equal(t, []report.Outcome{report.OK, report.OK}, []report.Outcome{jobs[0].Outcome, jobs[1].Outcome})
	require.Equal(t, []string{"the source has removed image " + at("", 0).ID + " since the plan was made"}, jobs[0].Notes)
	require.Empty(t, stages(t, w.here))
	require.Equal(t, []string{"web01/" + at("", 7).ID}, ids(t, w.here))

	// A stage of an earlier run too.
	_, err = w.target.Stage(at("web01", 3))
	require.NoError(t, err)
	w.fetched(t)
	require.Empty(t, stages(t, w.here))
}

// A machine of which the source has no image any more, or none that is new enough, is a
// warning; one that only has no new image is told of.
func TestRun_SilenceIsAWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.expect = 8 * day
	put(t, w.here, at("gone", 29), guest(1, mib))
	w.both(t, at("late", 21), guest(2, mib))
	w.both(t, at("well", 23), guest(3, mib))
	put(t, w.there, at("old", 2), guest(4, mib)) // is new here
	results, err := w.run(t)
	require.NoError(t, err)
	outcomes, notes := make(map[string]report.Outcome), make(map[string]string)
	for _, r := range results {
		job := r.Job()
		outcomes[job.Name], notes[job.Name] = job.Outcome, job.Notes[0]
	}
	require.Empty(t, cmp.Diff(map[string]report.Outcome{
		"gone": report.Warning, "late": report.Warning, "well": report.OK, "old": report.Warning, "old/" + at("", 2).ID: report.OK,
	}, outcomes))
	require.Equal(t, "THE SOURCE HAS NO IMAGE OF IT; the newest here is "+at("", 29).ID+", 24 h old", notes["gone"])
	require.Equal(t, "NO NEW IMAGE: the newest is "+at("", 21).ID+", 9 days old", notes["late"])
	require.Equal(t, "no new image: the newest is "+at("", 23).ID+", 7 days old", notes["well"])

	w.expect = 0
	results, err = w.run(t)
	require.NoError(t, err)
	for _, r := range results {
		require.Equal(t, r.Machine == "gone", r.Job().Outcome == report.Warning, r.Machine)
	}
}

// A report tells the sizes, what crossed the wire, the downtime and what went.
func TestJob_TellsWhatARunDid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy = vmimage.Policy{Last: 1}
	w.both(t, at("web01", 0), guest(1, mib))
	image := put(t, w.there, at("web01", 7), guest(2, mib))
	results, err := w.run(t)
	require.NoError(t, err)
	require.Len(t, results, 1)
	job := results[0].Job()
	require.Equal(t, "web01", job.Name)
	require.Equal(t, []int{2, 2}, []int{job.Files, job.Verified})
	require.Equal(t, results[0].Image.Allocated(), job.Bytes)
	require.Positive(t, job.Literal)
	require.Len(t, job.Notes, 4)
	require.Contains(t, job.Notes[0], "image "+image.ID+", clean: ")
	require.Contains(t, job.Notes[0], ", with holes 1 MiB")
	require.Equal(t, "1 MiB were sent of 1 MiB: the rest was here, or is zeros", job.Notes[1])
	require.Equal(t, "the machine was down for 5s, of which its guest took 2s to shut down", job.Notes[2])
	require.Contains(t, job.Notes[3], "removed image "+at("", 0).ID)
}

// New says what is wrong with a configuration.
func TestNew_RefusesWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []fetch.Config{
		{}, {Source: w.source}, {Keeper: vmimage.Keeper{Target: w.target}},
		{Source: w.source, Keeper: vmimage.Keeper{Target: struct{ vmimage.Target }{w.target}}},
		{Source: w.source, Keeper: vmimage.Keeper{Target: w.target}, Expect: -1},
	} {
		_, err := fetch.New(c)
		require.Error(t, err)
	}
	_, err := fetch.New(fetch.Config{Source: w.source, Keeper: vmimage.Keeper{Target: w.target}, Transfer: &transfer.Options{}})
	require.NoError(t, err)
}
