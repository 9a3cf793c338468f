// Ginserver is the web service to which observatories upload files, as the GINs of
// INTERMAGNET run it (Technical Note 9): a receiver between an observatory and its own
// central server. It checks each file as a GIN does, gives it an id, refuses what it
// has, answers searches, and gives files back.
//
//	ginserver [-config FILE] [-dry-run] [-json] [-v] [-version]
//
// It serves until it is told to end, and then lets uploads that are under way finish. With
// -dry-run it checks the configuration alone. What it has stored when it answers survives
// a crash; others may pick up files from its folder, STATION/YYYY-DDD/ID-NAME.
// For systemd:
//
//	[Service]
//	ExecStart=/usr/local/bin/ginserver -config /etc/obskeep/ginserver.toml -v
//	Restart=always
//
// A file is then sent with any client of a GIN:
//
//	curl --anyauth -u imo-cpl -F Request=Upload -F 'File=@cpl202403150355pmin.min' https://centre.example.org:8443/GINFileUpload/Cache
//
// Without -config it serves on the loopback for a moment, uploads a synthetic file to
// itself, searches for it and has it back.
//
// The configuration is TOML; see [config]. The exit code is 0 when it was told to end, 1 if
// something failed, 2 for wrong flags or a wrong configuration, 75 if another one serves the
// same folder.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

func main() { script.Main("ginserver", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	flags := script.NewFlags("ginserver", "[-config FILE] [-dry-run] [-json] [-v] [-version]")
	if done, err := flags.Parse(args, stdout); done || err != nil {
		return 0, err
	}
	switch {
	case flags.NArg() > 0:
		return 0, &script.UsageError{Err: fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	case flags.Config == "" && (flags.DryRun || flags.JSON):
		return 0, &script.UsageError{Err: errors.New("-dry-run and -json want -config")}
	case flags.Config == "":
		return 0, demonstrate(ctx, stdout)
	}
	var c config
	if err := script.ReadConfig(flags.Config, &c); err != nil {
		return 0, err
	}
	if flags.DryRun {
		return 0, c.describe(stdout, flags.JSON, c.Listen)
	}
	c.server.Logger = flags.Logger(stderr)
	s, err := gintest.New(c.server)
	if errors.Is(err, gintest.ErrLocked) {
		return 0, &script.BusyError{Owner: "another server serves " + c.Folder}
	}
	if err != nil {
		return 0, err
	}
	if err := s.Start(c.Listen, c.tls); err != nil {
		return 0, errors.Join(err, s.Close())
	}
	if flags.Verbose || flags.JSON {
		err = c.describe(stdout, flags.JSON, s.Addr())
	}
	if err == nil {
		<-ctx.Done()
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return 0, errors.Join(err, s.Shutdown(ending))
}

// describe prints what is served.
func (c *config) describe(w io.Writer, asJSON bool, addr string) error {
	var users []string
	for _, a := range c.server.Accounts {
		users = append(users, fmt.Sprintf("%s (%s)", a.User, strings.Join(a.Stations, " ")))
	}
	if asJSON {
		return json.NewEncoder(w).Encode(map[string]any{
			"schema": "obskeep/ginserver/v1", "address": addr, "tls": c.tls != nil, "folder": c.Folder, "accounts": users,
		})
	}
	_, err := fmt.Fprintf(w, "serves %s on %s, TLS %t, for %s\n", c.Folder, addr, c.tls != nil, strings.Join(users, ", "))
	return err
}
