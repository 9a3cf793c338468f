// Package sshstore keeps objects on another machine, over SSH: an SFTP
// account as a [transfer.Tree].
//
// [Open] connects. A connection that is lost later is dialled again by the
// next call; the call that met the loss returns [transfer.ErrLost], which
// transfers know how to retry. Where the account may run programs, those of the
// far side save what SFTP alone would have to send: with sha256sum or openssl, head and
// date a cut or grown file is proved by hash where it lies; with cp the previous
// version becomes the beginning of the next; with rsync trees are listed, and
// files pulled and pushed many at once and as differences. Of the login shell no
// more is asked than to understand "exec sh". On a long line a large file goes
// through several SFTP sessions of the one connection.
//
// # Guarantees
//
//   - No host is talked to whose key is not in a known_hosts file. A host that is
//     not known is refused with the line to add, one whose key has changed with both
//     fingerprints; see [HostKeyError].
//   - When a context ends, the call that got it returns at once.
//   - A connection from which nothing comes for four keep-alive intervals is
//     given up. However many calls find it gone, it is dialled once.
//   - After Close every call returns fs.ErrClosed, and nothing runs any more.
//   - What is committed has been fsynced where the server can (OpenSSH since 6.5) or,
//     for many files at once, with sync -f where the account may run programs,
//     and takes the place of its predecessor in one step.
//   - What rsync writes is hidden, and gets its name when the far side has made it
//     durable and hashed it, one by one or, in a directory that was empty, at once.
//   - A full disk is syscall.ENOSPC and a read-only one syscall.EROFS where the
//     server tells how full its disks are, though SFTP has no words for them.
//   - No name that a server lists leads out of the directory listed.
//
// SFTP as it is deployed (version 3, draft-ietf-secsh-filexfer-02) cannot fsync
// a directory, and carries times in whole seconds from 1970 to 2106: others
// come back off by a multiple of 2^32 seconds. (What rsync lists, and the files
// that it writes, have times to the nanosecond; directories are given theirs in
// whole seconds.) A server is trusted not to follow symbolic links out
// of the tree.
package sshstore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
)

// Config says how to reach and enter a machine. Only Addr is required.
type Config struct {
	// Addr is a host, or host:port. The port is 22 if there is none.
	Addr string

	// User is the account. Empty means the name of the current user.
	User string

	// Keys are private key files, tried before the keys of the agent: servers
	// hang up after a few. Empty means the agent's, then those of id_ed25519,
	// id_ecdsa and id_rsa that ~/.ssh has. Files are read once per Store.
	Keys []string

	// Passphrase opens an encrypted key file that the agent does not have.
	// Nil means that there is none.
	Passphrase func(keyFile string) ([]byte, error)

	// Agent is the socket of an ssh-agent. Empty means SSH_AUTH_SOCK of the
	// environment; "none" means no agent.
	Agent string

	// KnownHosts are files of host keys as OpenSSH keeps them: hashed names,
	// @cert-authority and @revoked too. Empty means ~/.ssh/known_hosts and
	// /etc/ssh/ssh_known_hosts. Files that do not exist are passed over.
	KnownHosts []string

	// Jump is a machine to go through. Nil means none.
	Jump *Config

	// Timeout bounds dialling and logging in, of each machine on the way.
	// Zero means 20 seconds.
	Timeout time.Duration

	// KeepAlive is the interval in which the far side is asked whether it is
	// there. When nothing has come from it for four, the connection is given
	// up. Zero means 15 seconds.
	KeepAlive time.Duration

	// Logger gets connections made and lost. Nil means none.
	Logger *slog.Logger
}

func (c *Config) timeout() time.Duration {
	if c.Timeout <= 0 {
		return 20 * time.Second
	}
	return c.Timeout
}

func (c *Config) keepAlive() time.Duration {
	if c.KeepAlive <= 0 {
		return 15 * time.Second
	}
	return c.KeepAlive
}

func (c *Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// addr is Addr with its port.
func (c *Config) addr() string {
	addr := strings.ToLower(c.Addr) // as known_hosts has it
	host := strings.Trim(addr, "[]")
	if h, p, ok := cutPort(addr); ok {
		host = h + ":" + p
		if strings.Contains(h, ":") {
			host = "[" + h + "]:" + p
		}
		return host
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]:22"
	}
	return host + ":22"
}

// Store is a directory of another machine. It is a [transfer.Tree],
// [transfer.GroupCommitter], [transfer.Hasher], [transfer.TreeLister],
// [transfer.Fetcher], [transfer.Taker], [transfer.Clock] and [diskspace.Stater], and
// its uploads are [transfer.Copier]; what the far side lacks is errors.ErrUnsupported.
// It is safe for concurrent use, on one connection.
type Store struct {
	transfer.Tree // of the directory
	files         *fsstore.Store
	link          *link
	fs            *sftpFS

	mu     sync.Mutex
	hidden map[string]bool // uploads that lists have shown
}

// Open connects and returns the store of the directory dir, which is taken
// from the home directory if it is relative, and need not exist.
// The errors to tell apart are [*HostKeyError], [*KeyError], [*LoginError] and
// [*UnreachableError].
func Open(ctx context.Context, c Config, dir string) (*Store, error) {
	if c.Addr == "" {
		return nil, errors.New("sshstore: Config.Addr names no machine")
	}
	fs := &sftpFS{link: newLink(c), dir: dir}
	home, err := request(ctx, fs, func(c *sftp.Client) (string, error) {
		if path.IsAbs(dir) {
			return "", nil
		}
		return c.RealPath(".") // the shell may start elsewhere than SFTP
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sshstore: %w", err), fs.link.close())
	}
	fs.dir = path.Join(home, dir)
	s := &fsstore.Store{FS: fs}
	return &Store{Tree: s, files: s, link: fs.link, fs: fs, hidden: map[string]bool{}}, nil
}

// Close ends the connection. From then on all calls, also those under way,
// return fs.ErrClosed.
func (s *Store) Close() error { return s.link.close() }

// HashPrefix implements [transfer.Hasher] with openssl or sha256sum on the far
// side.
func (s *Store) HashPrefix(ctx context.Context, name string, n int64) (transfer.Prefix, error) {
	return s.files.HashPrefix(ctx, name, n)
}

// GroupSize implements [transfer.GroupCommitter]: a server of OpenSSH may have
// 1024 files open, by default.
func (s *Store) GroupSize() int { return 256 }

// CommitAll implements [transfer.GroupCommitter] with two runs of sync -f on
// the far side for a group: one before the files get their names, one after.
// Where that cannot be, the files are fsynced one by one.
func (s *Store) CommitAll(ctx context.Context, uploads []transfer.Upload, readBack bool) []error {
	return s.files.CommitGroup(ctx, uploads, readBack, func(names []string) error {
		if len(uploads) == 1 || !s.fs.CanHash(ctx) {
			return noShell(ctx)
		}
		for i, name := range names {
			names[i] = s.fs.path(name)
		}
		return s.link.syncFS(ctx, names)
	})
}

// Usage implements [diskspace.Stater] with statvfs@openssh.com. A name that
// does not exist stands for the directory it would be made in.
func (s *Store) Usage(ctx context.Context, name string) (diskspace.Usage, error) {
	if err := transfer.ValidName(name); err != nil {
		return diskspace.Usage{}, err
	}
	st, err := s.fs.statVFS(ctx, s.fs.path(name))
	if err != nil {
		return diskspace.Usage{}, err
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", s.link.config.addr(), st.Fsid)
	return diskspace.Usage{
		Volume:      h.Sum64(),
		Total:       st.Frsize * st.Blocks,
		Free:        st.Frsize * st.Bfree,
		Avail:       st.Frsize * st.Bavail,
		Inodes:      st.Favail,
		TotalInodes: st.Files,
	}, nil
}

// Now implements [transfer.Clock] with date on the far side, to the second.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	out, err := s.link.ask(ctx, "exec date -u +%s\n")
	if err != nil {
		return time.Time{}, err
	}
	sec, err := strconv.ParseInt(lastLine(out), 10, 64)
	if err != nil {
		return time.Time{}, errNoShell
	}
	return time.Unix(sec, 0), nil
}

func cutPort(addr string) (host, port string, ok bool) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return "", "", false
	}
	host, port = addr[:i], addr[i+1:]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1], port, true
	}
	return host, port, !strings.Contains(host, ":")
}
