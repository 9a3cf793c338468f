// Package mailtest starts real mail servers for tests.
//
// # Guarantees
//
//   - The server has its own configuration, queue, log and port on the
//     loopback; nothing of the system's mail server is read, needed or changed.
//   - No message leaves the machine.
//   - When the test ends, or is killed, the server is stopped and its files
//     are removed.
package mailtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/obskeep/obskeep/report/mailer/smtpsink"
)

// Domain is the one to which the server delivers; any name in it has a
// mailbox. Recipients in other domains are refused.
const Domain = "observatory.test"

// MTA is a running mail server that delivers into one maildir.
type MTA struct {
	Addr     string // host:port of SMTP; offers STARTTLS with a self-signed certificate
	Sendmail string // path of its sendmail program, which needs no environment
	Config   string // its configuration directory, for postfix -c
	Log      string // path of its log

	t       testing.TB
	maildir string
}

// Postfix starts a Postfix of its own for t. Without Postfix and the rights
// of root it skips the test, or fails it if OBSKEEP_REQUIRE_ALL is 1.
func Postfix(t testing.TB) *MTA {
	t.Helper()
	postfix, err := exec.LookPath("postfix")
	if err != nil {
		// Not in the PATH of every user.
		postfix, err = exec.LookPath("/usr/sbin/postfix")
	}
	if err == nil && os.Geteuid() != 0 {
		err = fmt.Errorf("postfix starts only as root")
	}
	if err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatalf("a real mail server is required: %v", err)
		}
		t.Skipf("no real mail server here: %v", err)
	}
	// Not t.TempDir: its parent is closed to the user that Postfix runs as,
	// and the paths of its sockets must be short.
	dir, err := os.MkdirTemp("", "mta")
	check(t, err)
	m := &MTA{
		Addr:     freeAddr(t),
		Sendmail: filepath.Join(dir, "sendmail"),
		Config:   filepath.Join(dir, "conf"),
		Log:      filepath.Join(dir, "log"),
		t:        t,
		maildir:  filepath.Join(dir, "mail", "box"),
	}
	check(t, os.Chmod(dir, 0o755))
	for _, sub := range []string{"conf", "queue", "data", "mail"} {
		check(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	owner, err := user.Lookup("postfix")
	check(t, err)
	reader, err := user.Lookup("nobody")
	check(t, err)
	check(t, chown(filepath.Join(dir, "data"), owner))
	check(t, chown(filepath.Join(dir, "mail"), reader))
	cert, key := writeCertificate(t, m.Config)

	write := func(path, text string, perm os.FileMode) {
		t.Helper()
		check(t, os.WriteFile(path, []byte(text), perm))
	}
	write(filepath.Join(m.Config, "main.cf"), fmt.Sprintf(mainConfig, dir, Domain, reader.Uid, reader.Gid, cert, key), 0o644)
	write(filepath.Join(m.Config, "master.cf"), fmt.Sprintf(masterConfig, m.Addr), 0o644)
	sendmail := filepath.Join(filepath.Dir(postfix), "sendmail")
	write(m.Sendmail, fmt.Sprintf("#!/bin/sh\nMAIL_CONFIG=%s exec %s \"$@\"\n", m.Config, sendmail), 0o755)

	// The guard outlives a test that is killed: it stops the server when its
	// input ends.
	guard := exec.Command("/bin/sh", "-c", guardScript, "guard", postfix, m.Config, dir)
	alive, err := guard.StdinPipe()
	check(t, err)
	check(t, guard.Start())
	t.Cleanup(func() {
		alive.Close()
		if err := guard.Wait(); err != nil {
			t.Errorf("postfix stop: %v", err)
		}
	})
	if out, err := exec.Command(postfix, "-c", m.Config, "start").CombinedOutput(); err != nil {
		t.Fatalf("postfix start: %v: %s\n%s", err, out, m.log())
	}
	m.await("answer", func() bool {
		conn, err := net.Dial("tcp", m.Addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return m
}

// Maildir returns the folder of the mailbox that gets all mail (new, cur and
// tmp, as in maildir(5)). It is there once something was delivered.
func (m *MTA) Maildir() string { return m.maildir }

// Messages waits until at least n messages were delivered, and returns all of
// them in the order of delivery. It fails the test if that takes more than
// 30 seconds.
func (m *MTA) Messages(n int) []*smtpsink.Mail {
	m.t.Helper()
	var paths []string
	m.await(fmt.Sprintf("deliver %d messages", n), func() bool {
		var err error
		paths, err = filepath.Glob(filepath.Join(m.maildir, "new", "*"))
		check(m.t, err)
		return len(paths) >= n
	})
	type delivered struct {
		at   time.Time
		mail *smtpsink.Mail
	}
	var all []delivered
	for _, path := range paths {
		info, err := os.Stat(path)
		check(m.t, err)
		data, err := os.ReadFile(path)
		check(m.t, err)
		mail, err := smtpsink.Open(data)
		check(m.t, err)
		all = append(all, delivered{info.ModTime(), mail})
	}
	slices.SortStableFunc(all, func(a, b delivered) int { return a.at.Compare(b.at) })
	mails := make([]*smtpsink.Mail, len(all))
	for i := range all {
		mails[i] = all[i].mail
	}
	return mails
}

// await asks again and again: another process works, which no clock of this
// one can hurry.
func (m *MTA) await(what string, done func() bool) {
	m.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			m.t.Fatalf("postfix did not %s in 30 s:\n%s", what, m.log())
		}
	}
}

func (m *MTA) log() []byte {
	log, err := os.ReadFile(m.Log)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(log)
}

// freeAddr returns a loopback address that was free a moment ago.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().String()
}

func chown(path string, u *user.User) error {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, gid)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(strings.TrimSpace(err.Error()))
	}
}

// guardScript takes: postfix, configuration directory, directory to remove.
// An interrupt from the terminal reaches it too, and must not end it. A server
// that cannot write its log does not stop by itself.
const guardScript = `trap '' HUP INT TERM
cat >/dev/null
status=0
timeout 20 "$1" -c "$2" stop >/dev/null 2>&1 || {
	status=$?
	kill -9 $(cat "$3"/queue/pid/master.pid)
}
rm -rf "$3"
exit $status
`

// mainConfig takes: directory, domain, uid and gid of the mailbox's owner,
// certificate, key. What it does not set is Postfix's own default. See
// postconf(5).
const mainConfig = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mta.%[2]s
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = %[2]s
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:%[3]s
virtual_gid_maps = static:%[4]s
default_transport = error:no mail leaves this machine
relay_transport = error:no mail leaves this machine
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = %[5]s
smtpd_tls_key_file = %[6]s
`

// masterConfig takes the address of SMTP. See master(5); nothing runs in a
// chroot, which would need the system's files inside.
const masterConfig = `%s inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`
