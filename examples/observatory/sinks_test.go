package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/obskeep/obskeep/report/mailer/smtpsink"
)

// broker starts one, whose address is then $BROKER. It takes everything from everybody, and
// adds a line for each message to the file messages.
func cmdBroker(ts *testscript.TestScript, _ bool, _ []string) {
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	ts.Check(s.AddHook(&everything{file: ts.MkAbs("messages")}, nil))
	l := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	ts.Check(s.AddListener(l))
	ts.Check(s.Serve())
	ts.Defer(func() { ts.Check(s.Close()) })
	ts.Setenv("BROKER", "mqtt://"+l.Address())
}

// everything is allowed, and what is published is written down.
type everything struct {
	mqtt.HookBase
	file string
}

func (e *everything) ID() string                                              { return "everything" }
func (e *everything) Provides(b byte) bool                                    { return true }
func (e *everything) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (e *everything) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }
func (e *everything) OnPublished(_ *mqtt.Client, pk packets.Packet) {
	f, err := os.OpenFile(e.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s %s\n", pk.TopicName, pk.Payload); err != nil {
		panic(err)
	}
}

// mailbox starts a mail server, whose address is then $SMTP. mailbox DIR writes the mails that
// have come into a folder.
func cmdMailbox(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		s, err := smtpsink.New("127.0.0.1:0")
		ts.Check(err)
		ts.Defer(func() { ts.Check(s.Close()) })
		ts.Setenv("SMTP", s.Addr())
		receivers.Store("mailbox of "+ts.Getenv("WORK"), s)
		return
	}
	s, _ := receivers.Load("mailbox of " + ts.Getenv("WORK"))
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o755))
	for i, m := range s.(*smtpsink.Sink).Messages() {
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), fmt.Sprint(i)), bytes.ReplaceAll(m.Data, []byte("\r\n"), []byte("\n")), 0o644))
	}
}
