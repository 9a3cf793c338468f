// Package sshserver is a small SSH server in the process: one account, one
// key, and one folder to read over SFTP. Examples and tests talk to it over
// TCP as they would to any other.
//
// # Guarantees
//
//   - Only the user with the key gets in, from this machine only.
//   - Nothing can be changed, and nothing outside the folder be read, whatever
//     symbolic links lie in it. No program is run.
//   - When Close returns, nothing runs any more.
package sshserver

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Server is a running server.
type Server struct {
	root    *os.Root
	ssh     *ssh.ServerConfig
	hostKey ssh.PublicKey
	lis     net.Listener

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
}

// Start serves the folder dir, read-only, to user with key, on a free port of
// 127.0.0.1 and with a new host key.
func Start(dir, user string, key ssh.PublicKey) (*Server, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	s := &Server{root: root, hostKey: signer.PublicKey(), lis: lis, conns: map[net.Conn]bool{}}
	s.ssh = &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		if meta.User() != user || !bytes.Equal(offered.Marshal(), key.Marshal()) {
			return nil, errors.New("sshserver: key refused")
		}
		return nil, nil
	}}
	s.ssh.AddHostKey(signer)
	s.wg.Go(s.accept)
	return s, nil
}

// Addr is the address to dial.
func (s *Server) Addr() string { return s.lis.Addr().String() }

// KnownHostsLine is the line that makes the server a known host.
func (s *Server) KnownHostsLine() string { return knownhosts.Line([]string{s.Addr()}, s.hostKey) }

// Close ends all connections and returns when nothing runs any more.
func (s *Server) Close() error {
	err := s.lis.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return errors.Join(err, s.root.Close())
}

func (s *Server) accept() {
	for {
		c, err := s.lis.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			c.Close()
		}
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			defer func() {
				c.Close()
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			}()
			s.serve(c)
		})
	}
}

func (s *Server) serve(c net.Conn) {
	conn, chans, reqs, err := ssh.NewServerConn(c, s.ssh)
	if err != nil {
		return
	}
	defer conn.Close()
	s.wg.Go(func() { ssh.DiscardRequests(reqs) })
	for nc := range chans {
		if nc.ChannelType() != "session" {
			_ = nc.Reject(ssh.UnknownChannelType, "sessions only") // the peer is gone if it fails
			continue
		}
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.session(ch, reqs) })
	}
}

func (s *Server) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer ch.Close()
	for req := range reqs {
		ok := req.Type == "subsystem" && bytes.Equal(req.Payload, ssh.Marshal(struct{ Name string }{"sftp"}))
		if req.WantReply {
			_ = req.Reply(ok, nil) // the peer is gone if it fails
		}
		if ok {
			s.wg.Go(func() { ssh.DiscardRequests(reqs) })
			f := folder{s.root}
			server := sftp.NewRequestServer(ch, sftp.Handlers{FileGet: f, FilePut: f, FileCmd: f, FileList: f})
			_ = server.Serve() // ends with the session, one way or another
			server.Close()
			return
		}
	}
}

// folder answers SFTP requests from one folder, and refuses changes.
type folder struct{ root *os.Root }

func name(p string) string { return cmp.Or(strings.TrimPrefix(p, "/"), ".") }

// Fileread opens regular files only: a named pipe would wait for a writer.
func (f folder) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	file, err := f.root.OpenFile(name(r.Filepath), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := file.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrPermission
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func (f folder) Filewrite(*sftp.Request) (io.WriterAt, error) { return nil, fs.ErrPermission }

func (f folder) Filecmd(*sftp.Request) error { return fs.ErrPermission }

func (f folder) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	fi, err := f.root.Lstat(name(r.Filepath))
	return infos{fi}, err
}

func (f folder) Readlink(p string) (string, error) { return f.root.Readlink(name(p)) }

func (f folder) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method != "List" {
		fi, err := f.root.Stat(name(r.Filepath))
		return infos{fi}, err
	}
	dir, err := f.root.Open(name(r.Filepath))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fis, err := dir.Readdir(-1)
	return infos(fis), err
}

// infos is a listing.
type infos []fs.FileInfo

func (l infos) ListAt(dst []fs.FileInfo, off int64) (int, error) {
	n := copy(dst, l[min(off, int64(len(l))):])
	if off+int64(n) == int64(len(l)) {
		return n, io.EOF
	}
	return n, nil
}
