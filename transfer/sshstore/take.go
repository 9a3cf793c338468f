package sshstore

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
	"github.com/obskeep/obskeep/transfer/rsync"
)

const (
	// batchFiles and batchBytes bound what is on the far side twice, and what
	// is shown in one go.
	batchFiles = 32768
	batchBytes = 1 << 30
	// patchMin is the size from which a file mostly changes in place, by the
	// blocks of a file system, and what is left of a cut attempt is worth keeping.
	patchMin  = 16 << 20
	patchSize = 4096
)

// Take implements [transfer.Taker] with the rsync of the far side, which writes
// into a hidden directory. From there the files get their names when sync -f
// has made them durable, and sha256sum agrees.
func (s *Store) Take(ctx context.Context, dir string, offers []transfer.Offer, readBack bool) error {
	if err := transfer.ValidName(dir); err != nil {
		return err
	}
	if s.link.noRsync.Load() || !s.link.hasShell(ctx) {
		return cmp.Or(ctx.Err(), errNoRsync)
	}
	t := &taking{Store: s, dir: dir, stage: path.Join(dir, fsstore.StagePrefix+rand.Text()), readBack: readBack, clean: true}
	names := []string{path.Join(dir, fsstore.StagePrefix)} // for one at a time
	for _, o := range offers {
		names = append(names, path.Join(dir, o.Name))
	}
	release, err := s.files.Reserve(names)
	if err != nil {
		return err
	}
	defer release()
	err = t.run(ctx, offers)
	if ctx.Err() != nil || errors.Is(err, transfer.ErrLost) {
		return err // what has come helps the next attempt
	}
	_, e := s.link.run(ctx, fmt.Sprintf("exec rm -rf -- %s %[1]s%s*\n", shellQuote(s.fs.path(t.stage)), leftSuffix))
	return cmp.Or(err, e)
}

// taking is a call of Take.
type taking struct {
	*Store
	dir, stage string
	readBack   bool
	left       int  // directories that cut attempts have left; see begin
	clean      bool // what is in the hidden directory is of the batch at hand
	doubt      bool // whether that has got its times and modes
}

// taken is an offer, and what is known of its bytes.
type taken struct {
	transfer.Offer
	hash  hash.Hash // of what was read
	whole bool      // that was all of it, and it has arrived
	shown bool      // under its name
}

// run takes batch by batch. A session of rsync has one length for all blocks.
func (t *taking) run(ctx context.Context, offers []transfer.Offer) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	var small, large []*taken
	for _, o := range offers {
		if f := (&taken{Offer: o}); o.Old < patchMin {
			small = append(small, f)
		} else {
			large = append(large, f)
		}
	}
	return cmp.Or(t.batches(ctx, small, 0), t.batches(ctx, large, patchSize))
}

func (t *taking) batches(ctx context.Context, files []*taken, block int) error {
	for len(files) > 0 {
		n, size := 0, int64(0)
		for n < min(len(files), batchFiles) && (n == 0 || size+files[n].Size <= batchBytes) {
			size += files[n].Size
			n++
		}
		if err := t.batch(ctx, files[:n], block); err != nil {
			return err
		}
		files = files[n:]
	}
	return nil
}

func (t *taking) batch(ctx context.Context, files []*taken, block int) error {
	if err := t.prepare(ctx, files); err != nil {
		return err
	}
	told := t.deliver(ctx, files, block)
	t.doubt = told != nil
	switch {
	case ctx.Err() != nil, errors.Is(told, transfer.ErrLost), errors.Is(told, errNoRsync):
		return told
	case told != nil:
		t.link.config.logger().Debug("rsync has not taken everything", "err", told)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.sync(gctx) })
	if t.readBack || told != nil {
		g.Go(func() error { return t.prove(gctx, files) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return t.show(ctx, files)
}

// sync makes the hidden directory durable, and all that has come out of it:
// names are never given across file systems.
func (t *taking) sync(ctx context.Context) error {
	return t.link.syncFS(ctx, []string{t.fs.path(t.stage)})
}

const (
	leftSuffix = ".left" // and a number from 1
	leftMax    = 9       // rsync can do with twenty
)

// begin makes the hidden directory, which is of this call alone: some rsync of a
// line that was cut, or that seemed to be, may still be writing into that of
// another. What others have left is a basis for what comes; if one of them is not
// dead, it finds nothing more to show.
func (t *taking) begin(ctx context.Context) error {
	dir, stage := shellQuote(t.fs.path(t.dir)), path.Base(t.stage)
	out, err := t.link.run(ctx, fmt.Sprintf(`mkdir -p -- %s && cd %[1]s && mkdir -m 700 %[2]s || exit
n=0
for d in %[3]s*; do
	test "$d" = %[2]s && continue
	if test $n -lt %[4]d && mv "$d" %[2]s%[5]s$((n+1)); then n=$((n+1)); else rm -rf "$d"; fi
done
echo left $n
`, dir, stage, fsstore.StagePrefix, leftMax, leftSuffix))
	if err == nil {
		if _, e := fmt.Sscanf(lastLine(out), "left %d", &t.left); e != nil {
			err = errNoShell
		}
	}
	return err
}

// prepare makes a better basis of what a cut attempt has left of a large file:
// its beginning, and the rest of the old version.
func (t *taking) prepare(ctx context.Context, files []*taken) error {
	var script strings.Builder
	for _, f := range files {
		if f.Old < patchMin || t.left == 0 {
			continue
		}
		old, most, longest := t.fs.path(path.Join(t.dir, f.Name)), int64(0), ""
		for i := range t.left {
			name := fmt.Sprintf("%s%s%d/%s", t.stage, leftSuffix, i+1, f.Name)
			left, err := t.fs.Lstat(ctx, name)
			switch {
			case isNotExist(err):
				continue
			case err != nil:
				return err
			}
			worse := name
			if left.Mode.IsRegular() && left.Size > most {
				worse, longest, most = longest, name, left.Size
			}
			if worse != "" {
				fmt.Fprintf(&script, "rm -f -- %s\n", shellQuote(t.fs.path(worse)))
			}
		}
		if 0 < most && most < f.Old {
			fmt.Fprintf(&script, "tail -c +%d -- %s >> %s || exit\n", most+1, shellQuote(old), shellQuote(t.fs.path(longest)))
		}
	}
	if script.Len() == 0 {
		return nil
	}
	_, err := t.link.run(ctx, script.String())
	return err
}

// deliver has rsync take the files, and the directories in which they are.
func (t *taking) deliver(ctx context.Context, files []*taken, block int) error {
	offers := make([]rsync.Offer, 0, len(files))
	dirs := map[string]bool{".": true}
	var mkdir func(dir string)
	mkdir = func(dir string) {
		if !dirs[dir] {
			dirs[dir] = true
			mkdir(path.Dir(dir))
			offers = append(offers, rsync.Offer{Entry: rsync.Entry{Name: dir, Mode: fs.ModeDir | 0o700, ModTime: files[0].ModTime}})
		}
	}
	for _, f := range files {
		mkdir(path.Dir(f.Name))
		offers = append(offers, rsync.Offer{
			Entry: rsync.Entry{Name: f.Name, Size: f.Size, ModTime: f.ModTime, Mode: f.Mode | readable},
			Open: func() (rsync.Input, error) {
				in, err := f.Open()
				f.hash, f.whole = sha256.New(), false
				return &takenInput{in, f}, err
			},
		})
	}
	options := rsync.DeliverOptions(block)
	for i := range t.left {
		options.Extra = append(options.Extra, fmt.Sprintf("--copy-dest=../%s%s%d", path.Base(t.stage), leftSuffix, i+1))
	}
	options.Extra = append(options.Extra, "--copy-dest=..")
	return t.link.rsync(ctx, options.ServerArgs(false, t.fs.path(t.stage)+"/"), func(c rsync.Conn) error {
		_, err := rsync.Deliver(ctx, c, options, offers)
		return err
	})
}

// readable is what rsync and sha256sum need of a mode.
const readable = 0o400

type takenInput struct {
	transfer.Input
	f *taken
}

func (in *takenInput) Read(p []byte) (int, error) {
	n, err := in.Input.Read(p)
	in.f.hash.Write(p[:n])
	return n, err
}

func (in *takenInput) Done(err error) error {
	err = in.Input.Done(err)
	in.f.whole = err == nil
	return err
}

// prove has the far side hash what has arrived. What is not as it was read is
// not whole.
func (t *taking) prove(ctx context.Context, files []*taken) error {
	read := make(map[string]*taken, len(files))
	var large []*taken
	for _, f := range files {
		switch {
		case !f.whole:
		case f.Size >= patchMin:
			large = append(large, f)
		default:
			read[f.Name] = f
		}
		f.whole = false
	}
	err := each(ctx, large, func(ctx context.Context, f *taken) error {
		p, err := t.fs.HashPrefix(ctx, path.Join(t.stage, f.Name), f.Size)
		f.whole = err == nil && bytes.Equal(p.Sum[:], f.hash.Sum(nil))
		return err
	})
	if err != nil || len(read) == 0 {
		return err
	}
	_, err = t.link.talk(ctx, "cd "+shellQuote(t.fs.path(t.stage))+" && exec xargs -0 "+hasher+" --", func(p *program) error {
		names := make(chan error, 1)
		go func() {
			w := bufio.NewWriter(p)
			for _, f := range files {
				if read[f.Name] == f {
					_, _ = w.WriteString("./" + f.Name + "\x00") // errors stick
				}
			}
			names <- cmp.Or(w.Flush(), p.CloseWrite())
		}()
		for sum, err := range transfer.ReadSums(p) {
			if err != nil {
				p.Close()
				return cmp.Or(err, <-names)
			}
			if f := read[sum.Name]; f != nil {
				f.whole = bytes.Equal(sum.Hash, f.hash.Sum(nil))
			}
		}
		return <-names
	})
	if ctx.Err() != nil || errors.Is(err, transfer.ErrLost) {
		return err
	}
	if err != nil {
		t.link.config.logger().Debug("not everything could be hashed", "err", err)
	}
	return nil
}
