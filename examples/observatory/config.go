package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
)

// config is the configuration file.
type config struct {
	State    string          `toml:"state"`   // folder of what must not be forgotten: it exists
	Metrics  string          `toml:"metrics"` // file for the textfile collector of node-exporter; none: no metrics
	Poll     script.Duration `toml:"poll"`    // how often run looks at the files; default 10s
	Accounts []account       `toml:"account"`
}

// account is an [[account]] table: an observatory's account with a receiver.
type account struct {
	Name    string `toml:"name"` // of its folder in the state, and in reports
	Station string `toml:"station"`
	Header  header `toml:"header"`
	Days    int    `toml:"days"` // before today, of which files are looked at; default 7

	PerDay int          `toml:"per_day"` // files that are offered in a day; default 1440 to a GIN, else any number
	GIN    *ginTable    `toml:"gin"`     // where the account delivers to: one of these
	Folder *folderTable `toml:"folder"`
	MQTT   *mqttTable   `toml:"mqtt"`
	Mail   *mailTable   `toml:"mail"`

	Logger  *logger  `toml:"logger"`
	Streams []stream `toml:"stream"`

	to destination
}

// header is the [account.header] table: what the files that are sent say of the station.
type header struct {
	Institute string   `toml:"institute"`
	Name      string   `toml:"name"`
	Latitude  string   `toml:"latitude"`  // in degrees, as the files are to have it: "17.290"
	Longitude string   `toml:"longitude"` // east
	Elevation string   `toml:"elevation"` // in metres
	Comments  []string `toml:"comments"`
}

// folderName is what accounts and streams may be called, in the state and in metrics.
var folderName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Check implements [script.Config].
func (c *config) Check() error {
	c.Poll = cmp.Or(c.Poll, script.Duration(10*time.Second))
	switch {
	case !filepath.IsAbs(c.State):
		return fmt.Errorf("state is %q: want an absolute path", c.State)
	case c.Metrics != "" && !filepath.IsAbs(c.Metrics):
		return fmt.Errorf("metrics is %q: want an absolute path", c.Metrics)
	case c.Poll < script.Duration(time.Second):
		return fmt.Errorf("poll is %v: want 1s or more", time.Duration(c.Poll))
	case len(c.Accounts) == 0:
		return errors.New("there is no [[account]]")
	}
	folders := map[string]string{"state": c.State}
	if c.Metrics != "" {
		folders["metrics"] = filepath.Dir(c.Metrics)
	}
	for key, folder := range folders {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			return fmt.Errorf("%s: folder %s is not there; mount its disk, or make it: this program never does", key, folder)
		}
	}
	names, mqttUsers := map[string]bool{}, map[string]bool{}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		if !folderName.MatchString(a.Name) || names[a.Name] {
			return fmt.Errorf("account.name is %q: want a name of letters, digits, dots and hyphens that no other account has", a.Name)
		}
		names[a.Name] = true
		if err := a.check(); err != nil {
			return fmt.Errorf("account %q: %w", a.Name, err)
		}
		for _, user := range a.mqttUsers() {
			if mqttUsers[user] {
				return fmt.Errorf("account %q: mqtt.user or read_user is that of another account: a broker knows one connection of each", a.Name)
			}
			mqttUsers[user] = true
		}
	}
	return nil
}

// dir is the folder of an account's state.
func (c *config) dir(a *account) string { return filepath.Join(c.State, a.Name) }

var iagaCode = regexp.MustCompile(`^[A-Z][A-Z0-9]{2}$`)

func (a *account) check() error {
	a.Days = cmp.Or(a.Days, 7)
	switch {
	case !iagaCode.MatchString(a.Station):
		return fmt.Errorf("station is %q: want an IAGA code such as CPL", a.Station)
	case a.Days < 0:
		return fmt.Errorf("days is %d: it cannot be negative", a.Days)
	case a.PerDay < 0:
		return fmt.Errorf("per_day is %d: it cannot be negative", a.PerDay)
	case len(a.Streams) == 0:
		return errors.New("there is no [[account.stream]]")
	}
	for _, must := range []struct{ key, value, want string }{
		{"header.institute", a.Header.Institute, "who runs the station"},
		{"header.name", a.Header.Name, "the station's name in full"},
		{"header.latitude", a.Header.Latitude, `degrees, as "17.290"`},
		{"header.longitude", a.Header.Longitude, `degrees east, as "78.920"`},
		{"header.elevation", a.Header.Elevation, `metres, as "514"`},
	} {
		if must.value == "" {
			return fmt.Errorf("%s is missing: want %s", must.key, must.want)
		}
	}
	if err := a.checkDestination(); err != nil {
		return err
	}
	if a.Logger != nil {
		if err := a.Logger.check(); err != nil {
			return fmt.Errorf("logger: %w", err)
		}
	}
	names := map[string]bool{}
	for i := range a.Streams {
		s := &a.Streams[i]
		if !folderName.MatchString(s.Name) || names[s.Name] {
			return fmt.Errorf("stream.name is %q: want a name of letters, digits, dots and hyphens that no other stream has", s.Name)
		}
		names[s.Name] = true
		if err := s.check(a); err != nil {
			return fmt.Errorf("stream %q: %w", s.Name, err)
		}
	}
	return nil
}
