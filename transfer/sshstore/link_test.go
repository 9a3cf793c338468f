package sshstore_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

func TestConfig_Addr(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ rule, addr, want string }{
		{"the port is 22", "host", "host:22"},
		{"a port is kept", "host:2222", "host:2222"},
		{"names have no capitals, as in known_hosts", "Host.Example.ORG:2222", "host.example.org:2222"},
		{"IPv4", "127.0.0.1", "127.0.0.1:22"},
		{"bare IPv6", "::1", "[::1]:22"},
		{"IPv6 in brackets", "[::1]", "[::1]:22"},
		{"IPv6 with a port", "[fe80::1%eth0]:2222", "[fe80::1%eth0]:2222"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			require.Equal(t, c.want, sshstore.Addr(sshstore.Config{Addr: c.addr}))
		})
	}
}

// An address with its port is an address.
func FuzzConfig_AddrIsStable(f *testing.F) {
	for _, s := range []string{"host", "host:22", "::1", "[::1]:22", "", ":", "[", "a:b:c", "[]:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := sshstore.Addr(sshstore.Config{Addr: s})
		if host, port, err := net.SplitHostPort(once); err != nil || host == "" || port == "" {
			return // it leads nowhere, and dialling says so
		}
		require.Equal(t, once, sshstore.Addr(sshstore.Config{Addr: once}))
	})
}

// A machine that cannot be reached is named.
func TestOpen_NamesAnUnreachableHost(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { lis.Close() })

	t.Run("closed port", func(t *testing.T) {
		closed, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		closed.Close()
		c := d.Config()
		c.Addr = closed.Addr().String()
		require.Equal(t, c.Addr, refused[*sshstore.UnreachableError](t, c).Addr)
	})
	t.Run("no such name", func(t *testing.T) {
		c := d.Config()
		c.Addr, c.Timeout = "nowhere.invalid", 5*time.Second // RFC 2606, section 2
		require.Equal(t, "nowhere.invalid:22", refused[*sshstore.UnreachableError](t, c).Addr)
	})
	t.Run("black hole", func(t *testing.T) {
		c := d.Config()
		c.Addr, c.Timeout = lis.Addr().String(), 200*time.Millisecond // nobody accepts
		e := refused[*sshstore.UnreachableError](t, c)
		require.Equal(t, c.Addr, e.Addr)
		require.ErrorIs(t, e, context.DeadlineExceeded)
	})
	t.Run("hangs up", func(t *testing.T) {
		c := d.Via(t, sshtest.NewProxy(t, "127.0.0.1:1"))
		require.Equal(t, c.Addr, refused[*sshstore.UnreachableError](t, c).Addr)
	})
	t.Run("no address", func(t *testing.T) {
		_, err := sshstore.Open(t.Context(), sshstore.Config{}, "")
		require.Error(t, err)
	})
}

// Open returns at once when its context ends.
func TestOpen_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { lis.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err = sshstore.Open(ctx, sshstore.Config{Addr: lis.Addr().String(), Agent: "none"}, "")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(begun), 5*time.Second, "the timeout is 20 s")
}

// A machine that lets us in without SFTP is told from one that refuses us.
func TestOpen_SaysThatThereIsNoSFTP(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, "Subsystem other /bin/false")
	_, err := sshstore.Open(t.Context(), d.Config(), "")
	require.ErrorContains(t, err, d.Addr)
	require.ErrorContains(t, err, "SFTP")
	t.Log(err)
}

// A jump host is gone through; the errors name the machine they are about.
func TestOpen_GoesThroughAJumpHost(t *testing.T) {
	t.Parallel()
	jump, target := sshtest.Start(t), sshtest.Start(t)
	via := func(j, c sshstore.Config) sshstore.Config { c.Jump = &j; return c }
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600))
	p := sshtest.NewProxy(t, jump.Addr)
	s := open(t, via(jump.Via(t, p), target.Config()), dir)
	info, err := s.Stat(t.Context(), "x")
	require.NoError(t, err)
	require.Equal(t, int64(1), info.Size)
	lose(t, s, p)
	_, err = s.Stat(t.Context(), "x")
	require.NoError(t, err, "dialled again, all the way")

	t.Run("unknown jump host", func(t *testing.T) {
		c := via(jump.Config(), target.Config())
		c.Jump.KnownHosts = known(t, "")
		require.Equal(t, jump.Addr, refused[*sshstore.HostKeyError](t, c).Addr)
	})
	t.Run("unknown target", func(t *testing.T) {
		c := via(jump.Config(), target.Config())
		c.KnownHosts = known(t, "")
		require.Equal(t, target.Addr, refused[*sshstore.HostKeyError](t, c).Addr)
	})
	t.Run("unreachable target", func(t *testing.T) {
		c := via(jump.Config(), target.Config())
		c.Addr = "127.0.0.1:1"
		require.Equal(t, c.Addr, refused[*sshstore.UnreachableError](t, c).Addr)
	})
	t.Run("unreachable jump host", func(t *testing.T) {
		c := via(jump.Config(), target.Config())
		c.Jump.Addr = "127.0.0.1:1"
		require.Equal(t, c.Jump.Addr, refused[*sshstore.UnreachableError](t, c).Addr)
	})
	t.Run("refused by the jump host", func(t *testing.T) {
		c := via(jump.Config(), target.Config())
		c.Jump.Keys = target.Config().Keys
		require.Equal(t, jump.Addr, refused[*sshstore.LoginError](t, c).Addr)
	})
	t.Run("stalled jump host", func(t *testing.T) {
		p.Stall(true)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := s.Stat(ctx, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		begun := time.Now()
		require.NoError(t, s.Close())
		require.Less(t, time.Since(begun), 5*time.Second)
	})
}

// lose cuts a connection and waits until that is known.
func lose(t *testing.T, s *sshstore.Store, p *sshtest.Proxy) {
	t.Helper()
	p.Cut()
	_, err := s.Stat(t.Context(), ".")
	if err != nil {
		require.ErrorIs(t, err, transfer.ErrLost)
	}
}

// vanish makes the far side one that takes connections and says nothing, and
// waits until the store has found the old one gone.
func vanish(t *testing.T, s *sshstore.Store, p *sshtest.Proxy) {
	t.Helper()
	p.Stall(true)
	p.Cut()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := s.Stat(ctx, ".")
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		require.ErrorIs(t, err, transfer.ErrLost)
	}
}

// AES-GCM is what OpenSSH is asked for first.
func TestOpen_PrefersAESGCM(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, "LogLevel DEBUG1")
	open(t, d.Config(), "")
	require.Contains(t, d.Log.String(), "kex: client->server cipher: aes128-gcm@openssh.com")
	require.Contains(t, d.Log.String(), "kex: server->client cipher: aes128-gcm@openssh.com")
}

// stalled opens a store on a link that can be stalled, with a file x.
func stalled(t *testing.T, keepAlive time.Duration) (*sshstore.Store, *sshtest.Proxy) {
	t.Helper()
	d := sshtest.Start(t)
	p := sshtest.NewProxy(t, d.Addr)
	c := d.Via(t, p)
	c.KeepAlive = keepAlive
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), make([]byte, 8<<20), 0o600))
	return open(t, c, dir), p
}

// A connection that goes silent is given up after four keep-alive intervals.
func TestKeepAlive_GivesUpASilentConnection(t *testing.T) {
	t.Parallel()
	const every = 100 * time.Millisecond
	s, p := stalled(t, every)
	p.Stall(true)
	begun := time.Now()
	_, err := s.Stat(t.Context(), "x")
	require.ErrorIs(t, err, transfer.ErrLost)
	t.Log(err)
	require.Greater(t, time.Since(begun), 3*every)
	require.Less(t, time.Since(begun), 50*every)
	p.Stall(false)
	_, err = s.Stat(t.Context(), "x")
	require.NoError(t, err)
}

// A connection on which data comes is not silent, even if the answers to
// keep-alives do not: on a slow link they wait behind the data.
func TestKeepAlive_CountsDataAsAnAnswer(t *testing.T) {
	t.Parallel()
	const every = 60 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	drip := reader(func(p []byte, off int64) (int, error) {
		<-tick.C
		if off == 12 {
			return 0, io.EOF
		}
		p[0] = 'x'
		return 1, io.EOF // what there is
	})
	c := quirky{Handlers: sftp.Handlers{FileGet: drip, FileList: listing{}}, deaf: true}.start(t)
	c.KeepAlive = every
	s := open(t, c, "/")
	r, err := s.Open(t.Context(), "x", 0)
	require.NoError(t, err)
	defer r.Close()
	buf := make([]byte, 12)
	_, err = io.ReadFull(r, buf)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("x", 12), string(buf))
	_, err = s.Now(t.Context())
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// When a context ends, the call that got it returns at once, also on a link on
// which nothing moves.
func TestStore_CallsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	s, p := stalled(t, time.Hour)
	_, err := s.HashPrefix(t.Context(), "x", 1) // so that there is a shell
	require.NoError(t, err)
	// A call's context ends when that call is under way, not before.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	info := func(name string, size int64) transfer.Info {
		return transfer.Info{Name: name, Size: size, ModTime: time.Unix(1e9, 0), Mode: 0o600}
	}
	reading, err := s.Open(ctx, "x", 0)
	require.NoError(t, err)
	writing, err := s.Create(ctx, info("writing", 64<<20))
	require.NoError(t, err)
	committing, err := s.Create(t.Context(), info("committing", 1))
	require.NoError(t, err)
	_, err = committing.Write([]byte("x"))
	require.NoError(t, err)

	p.Stall(true)
	calls := map[string]func() error{
		"Stat": func() error { _, err := s.Stat(ctx, "x"); return err },
		"List": func() error {
			for _, e := range s.List(ctx, ".") {
				return e
			}
			return nil
		},
		"Open":   func() error { _, err := s.Open(ctx, "x", 0); return err },
		"Read":   func() error { _, err := io.Copy(io.Discard, reading); return err },
		"Create": func() error { _, err := s.Create(ctx, info("new", 1)); return err },
		"Write": func() error {
			_, err := writing.Write(make([]byte, 48<<20))
			return err
		},
		"Commit":     func() error { return committing.Commit(ctx, true) },
		"Remove":     func() error { return s.Remove(ctx, "x") },
		"Mkdir":      func() error { return s.Mkdir(ctx, transfer.Info{Name: "d", Mode: fs.ModeDir | 0o755}) },
		"Rename":     func() error { return s.Rename(ctx, "x", "y") },
		"HashPrefix": func() error { _, err := s.HashPrefix(ctx, "x", 1); return err },
		"Now":        func() error { _, err := s.Now(ctx); return err },
		"Usage":      func() error { _, err := s.Usage(ctx, "."); return err },
	}
	type end struct {
		name string
		err  error
	}
	ends := make(chan end, len(calls))
	for name, call := range calls {
		go func() { ends <- end{name, call()} }()
	}
	select {
	case e := <-ends:
		t.Errorf("%s has returned %v", e.name, e.err)
	case <-time.After(100 * time.Millisecond):
	}
	cancel()
	limit := time.After(5 * time.Second)
	for range len(calls) {
		select {
		case e := <-ends:
			require.ErrorIs(t, e.err, context.Canceled, e.name)
			delete(calls, e.name)
		case <-limit:
			for name := range calls {
				t.Errorf("%s has not returned", name)
			}
			return
		}
	}
	// What is behind the cancelled calls works on, once the link does.
	p.Stall(false)
	p.Cut()
	require.NoError(t, errors.Join(reading.Close()))
	_, _ = writing.Close(), committing.Close() // on a connection that is gone
}

// A call that is cancelled takes nothing from the others: the connection stays.
func TestStore_KeepsTheConnectionWhenACallIsCancelled(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	dir := t.TempDir()
	sshtest.Shell(t, dir, "seq 3000 | xargs touch")
	s := open(t, d.Config(), dir)
	r, err := s.Open(t.Context(), "1", 0)
	require.NoError(t, err)
	defer r.Close()
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
		for _, err := range s.List(ctx, ".") {
			if err != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		}
		cancel()
	}
	_, err = r.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	require.Equal(t, 1, d.Dials())
}

// A connection that is lost is dialled again by the next call.
func TestStore_DialsAgain(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	p := sshtest.NewProxy(t, d.Addr)
	s := open(t, d.Via(t, p), t.TempDir())
	for n := 2; n < 5; n++ {
		lose(t, s, p)
		_, err := s.Stat(t.Context(), ".")
		require.NoError(t, err)
		require.Equal(t, n, d.Dials())
	}
}

// The call that meets the loss of a connection is told which it was.
func TestStore_TellsALostConnection(t *testing.T) {
	t.Parallel()
	s, p := stalled(t, time.Hour)
	r, err := s.Open(t.Context(), "x", 0)
	require.NoError(t, err)
	defer r.Close()
	p.Stall(true)
	read := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, r); read <- err }()
	p.Cut()
	err = <-read
	require.ErrorIs(t, err, transfer.ErrLost)
	require.ErrorContains(t, err, p.Addr())
	t.Log(err)
}

// However many calls find the connection gone, they dial once, and if it does
// not come back they are told so together, not one after the other.
func TestStore_DialsOnceForAllCallers(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	p := sshtest.NewProxy(t, d.Addr)
	c := d.Via(t, p)
	c.Timeout = 2 * time.Second
	s := open(t, c, t.TempDir())
	all := func() []error {
		errs := make([]error, 16)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = s.Stat(t.Context(), ".") })
		}
		wg.Wait()
		return errs
	}
	vanish(t, s, p)
	p.Stall(false)
	before := d.Dials()
	require.NoError(t, errors.Join(all()...))
	require.Equal(t, before+1, d.Dials())

	vanish(t, s, p)
	begun := time.Now()
	for _, err := range all() {
		require.ErrorIs(t, err, transfer.ErrLost)
		_, ok := errors.AsType[*sshstore.UnreachableError](err)
		require.True(t, ok, "%v", err)
	}
	require.Less(t, time.Since(begun), 4*c.Timeout)
	p.Stall(false)
	p.Cut()
}

// A caller that gives up does not take the attempt from the others.
func TestStore_DialsOnForThoseWhoWait(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	p := sshtest.NewProxy(t, d.Addr)
	c := d.Via(t, p)
	c.Timeout = time.Second
	s := open(t, c, t.TempDir())
	vanish(t, s, p)
	before := d.Dials()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() { _, err := s.Stat(ctx, "."); first <- err }()
	require.Eventually(t, func() bool { return d.Dials() > before }, 5*time.Second, time.Millisecond)
	second := make(chan error, 1)
	go func() { _, err := s.Stat(t.Context(), "."); second <- err }()
	time.AfterFunc(50*time.Millisecond, cancel)
	require.ErrorIs(t, <-first, context.Canceled)
	err := <-second
	require.ErrorIs(t, err, transfer.ErrLost)
	require.NotErrorIs(t, err, context.Canceled)
	p.Stall(false)
	p.Cut()
}

// A host that has another key when it is dialled again is not a connection to
// be tried again.
func TestStore_DoesNotRetryAChangedKey(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	p := sshtest.NewProxy(t, d.Addr)
	c := d.Via(t, p)
	s := open(t, c, t.TempDir())
	require.NoError(t, os.WriteFile(c.KnownHosts[0], nil, 0o600))
	p.Cut()
	_, _ = s.Stat(t.Context(), ".") // may find it gone
	_, err := s.Stat(t.Context(), ".")
	_, ok := errors.AsType[*sshstore.HostKeyError](err)
	require.True(t, ok, "%v", err)
	require.NotErrorIs(t, err, transfer.ErrLost)
}

// After Close all is fs.ErrClosed, also what was under way.
func TestClose_EndsEverything(t *testing.T) {
	t.Parallel()
	s, p := stalled(t, time.Hour)
	r, err := s.Open(t.Context(), "x", 0)
	require.NoError(t, err)
	up, err := s.Create(t.Context(), transfer.Info{Name: "y", Size: 2, Mode: 0o600})
	require.NoError(t, err)
	p.Stall(true)
	under := make(chan error, 2)
	go func() { _, err := s.Stat(t.Context(), "x"); under <- err }()
	go func() { _, err := io.Copy(io.Discard, r); under <- err }()
	require.NoError(t, s.Close())
	for range 2 {
		err := <-under
		require.ErrorIs(t, err, fs.ErrClosed)
		require.NotErrorIs(t, err, transfer.ErrLost, "nothing to try again")
	}
	require.NoError(t, s.Close(), "again")

	ctx := t.Context()
	_, err = s.Stat(ctx, "x")
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = s.Open(ctx, "x", 0)
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = s.Create(ctx, transfer.Info{Name: "z"})
	require.ErrorIs(t, err, fs.ErrClosed)
	for _, err := range s.List(ctx, ".") {
		require.ErrorIs(t, err, fs.ErrClosed)
	}
	require.ErrorIs(t, s.Remove(ctx, "x"), fs.ErrClosed)
	_, err = s.Usage(ctx, ".")
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = s.Now(ctx)
	require.ErrorIs(t, err, fs.ErrClosed)
	require.ErrorIs(t, up.Commit(ctx, false), fs.ErrClosed)
	_ = up.Close() // cannot remove what is out of reach
	r.Close()
}

// Close ends an attempt to connect.
func TestClose_EndsDialling(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	p := sshtest.NewProxy(t, d.Addr)
	s := open(t, d.Via(t, p), t.TempDir())
	vanish(t, s, p)
	before := d.Dials()
	dialling := make(chan error, 1)
	go func() { _, err := s.Stat(t.Context(), "x"); dialling <- err }()
	require.Eventually(t, func() bool { return d.Dials() > before }, 5*time.Second, time.Millisecond)
	begun := time.Now()
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-dialling, fs.ErrClosed)
	require.Less(t, time.Since(begun), 5*time.Second, "the timeout is 10 s")
}
