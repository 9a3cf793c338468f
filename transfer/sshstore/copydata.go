package sshstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// The requests of SFTP that copy a file on the far side:
// draft-ietf-secsh-filexfer-02 sections 3 to 7, and for copy-data
// draft-ietf-secsh-filexfer-extensions-00 section 7. github.com/pkg/sftp knows
// the extension, but has no call for it.
const (
	sftpInit     = 1
	sftpVersion  = 2
	sftpOpen     = 3
	sftpStatus   = 101
	sftpHandle   = 102
	sftpExtended = 200

	sftpRead  = 1 // flags of open
	sftpWrite = 2
)

// copyData copies all of a file into another, without a shell.
func (s *sftpFS) copyData(ctx context.Context, from, to string) error {
	c, err := s.link.get(ctx)
	if err != nil {
		return err
	}
	if _, ok := c.sftp.HasExtension("copy-data"); !ok {
		return fmt.Errorf("the server cannot copy: %w", errors.ErrUnsupported)
	}
	session, err := s.link.session(ctx, c)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { session.Close() })
	defer stop()
	_, err = await(ctx, c, func() (struct{}, error) {
		defer s.link.sessionDone()
		defer session.Close()
		err := copyIn(session, from, to)
		if _, ok := errors.AsType[*sftp.StatusError](err); err != nil && !ok {
			err = fmt.Errorf("the server cannot copy: %w (%w)", errors.ErrUnsupported, err)
		}
		return struct{}{}, err
	}, nil)
	return err
}

// copyIn has a session of its own: a handle is good in the one that opened it.
func copyIn(session *ssh.Session, from, to string) error {
	w, err := session.StdinPipe()
	if err != nil {
		return err
	}
	r, err := session.StdoutPipe()
	if err != nil {
		return err
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		return err
	}
	ask := func(request, answer byte, fields ...any) ([]byte, error) {
		return askSFTP(r, w, request, answer, fields...)
	}
	if _, err := ask(sftpInit, sftpVersion, uint32(3)); err != nil {
		return err
	}
	const id = uint32(1)
	in, err := ask(sftpOpen, sftpHandle, id, from, uint32(sftpRead), uint32(0))
	if err != nil {
		return err
	}
	out, err := ask(sftpOpen, sftpHandle, id, to, uint32(sftpWrite), uint32(0))
	if err != nil {
		return err
	}
	_, err = ask(sftpExtended, sftpStatus, id, "copy-data", in[8:], uint64(0), uint64(0), out[8:], uint64(0)) // to the end
	return err                                                                                                // the files are closed with the session
}

// askSFTP sends a request, and returns what comes after the type of the answer:
// for a handle an id, a length and the handle. Another answer than expected is
// an error, and so is a status that is not good.
func askSFTP(r io.Reader, w io.Writer, request, answer byte, fields ...any) ([]byte, error) {
	p := []byte{0, 0, 0, 0, request}
	for _, f := range fields {
		switch f := f.(type) {
		case uint32:
			p = binary.BigEndian.AppendUint32(p, f)
		case uint64:
			p = binary.BigEndian.AppendUint64(p, f)
		case string:
			p = append(binary.BigEndian.AppendUint32(p, uint32(len(f))), f...)
		case []byte:
			p = append(binary.BigEndian.AppendUint32(p, uint32(len(f))), f...)
		}
	}
	binary.BigEndian.PutUint32(p, uint32(len(p)-4))
	if _, err := w.Write(p); err != nil {
		return nil, err
	}
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 9 && head[4] != sftpVersion || n < 1 || n > 256<<10 {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	body := make([]byte, n-1)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	if head[4] == sftpStatus {
		if code := binary.BigEndian.Uint32(body[4:]); code != 0 {
			return nil, &sftp.StatusError{Code: code}
		}
	}
	if head[4] != answer {
		return nil, fmt.Errorf("an answer of type %d", head[4])
	}
	return body, nil
}
