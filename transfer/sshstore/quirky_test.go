package sshstore_test

import (
	"crypto/ed25519"
	"io"
	"io/fs"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// quirky is a server that behaves as OpenSSH does not.
type quirky struct {
	sftp.Handlers
	disk bool // serves this machine's files
	deaf bool // answers no keep-alive
}

// start lets everybody in who knows the server.
func (q quirky) start(t *testing.T) sshstore.Config {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	sc := &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil },
	}
	sc.AddHostKey(signer)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var conns sync.Map
	t.Cleanup(func() {
		lis.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			conns.Store(c, true)
			wg.Go(func() { q.serve(&wg, c, sc) })
		}
	})
	key, _ := sshtest.NewKey(t, t.TempDir(), "id", "")
	return sshstore.Config{
		Addr: lis.Addr().String(), User: "any", Keys: []string{key}, Agent: "none", Timeout: 10 * time.Second,
		KnownHosts: []string{sshtest.WriteFile(t, "known_hosts", knownhosts.Line([]string{lis.Addr().String()}, signer.PublicKey())+"\n")},
	}
}

func (q quirky) serve(wg *sync.WaitGroup, c net.Conn, sc *ssh.ServerConfig) {
	defer c.Close()
	conn, chans, reqs, err := ssh.NewServerConn(c, sc)
	if err != nil {
		return
	}
	defer conn.Close()
	wg.Go(func() {
		for r := range reqs {
			if !q.deaf && r.WantReply {
				_ = r.Reply(false, nil)
			}
		}
	})
	for nc := range chans {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			for r := range reqs {
				_ = r.Reply(r.Type == "subsystem", nil)
			}
		})
		wg.Go(func() {
			var s interface {
				Serve() error
				Close() error
			}
			if q.disk {
				s, err = sftp.NewServer(ch)
				if err != nil {
					return
				}
			} else {
				s = sftp.NewRequestServer(ch, q.Handlers)
			}
			_ = s.Serve() // ends with the connection
			s.Close()
		})
	}
}

// entry is one of a server that says what it likes.
type entry struct {
	name string
	size int64
	mode fs.FileMode
}

func (e entry) Name() string       { return e.name }
func (e entry) Size() int64        { return e.size }
func (e entry) Mode() fs.FileMode  { return e.mode }
func (e entry) ModTime() time.Time { return time.Unix(0, 0) }
func (e entry) IsDir() bool        { return e.mode.IsDir() }
func (e entry) Sys() any           { return nil }

// listing answers all that is asked about names.
type listing []entry

func (l listing) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method == "List" {
		return l, nil
	}
	return listing{{name: "x", mode: fs.ModeDir | 0o755}}, nil
}

func (l listing) ListAt(dst []fs.FileInfo, off int64) (int, error) {
	n := 0
	for _, e := range l[min(int(off), len(l)):] {
		if n == len(dst) {
			return n, nil
		}
		dst[n] = e
		n++
	}
	return n, io.EOF
}

// reader is the one file of a server.
type reader func(p []byte, off int64) (int, error)

func (r reader) Fileread(*sftp.Request) (io.ReaderAt, error) { return r, nil }
func (r reader) ReadAt(p []byte, off int64) (int, error)     { return r(p, off) }
