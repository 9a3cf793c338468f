package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/impf"
	"github.com/obskeep/obskeep/ingest/sample"
)

// mqttTable is the [account.mqtt] table: a broker of a GIN. Without a read_user a message whose
// acknowledgement is lost is sent again.
type mqttTable struct {
	URL              string `toml:"url"` // mqtts://HOST
	User             string `toml:"user"`
	PasswordFile     string `toml:"password_file"`
	ReadUser         string `toml:"read_user"` // reads back what was published; none: the broker's word is taken
	ReadPasswordFile string `toml:"read_password_file"`
	GIN              string `toml:"gin"` // edi, gol, kyo, ott or par; it is left out without

	sink interface {
		ingest.Sink
		Close()
	}
}

func (t *mqttTable) check(*account) error {
	switch {
	case t.User == "":
		return errors.New("mqtt.user is missing: want that of the account")
	case t.PasswordFile == "":
		return errors.New("mqtt.password_file is missing: want a file with the account's password")
	case (t.ReadUser == "") != (t.ReadPasswordFile == ""):
		return errors.New("mqtt.read_user and mqtt.read_password_file belong together")
	}
	broker := impf.Broker{URL: t.URL}
	publish := impf.Account{User: t.User, Password: password(t.PasswordFile)}
	var err error
	if t.ReadUser == "" {
		t.sink, err = impf.NewPublisher(broker, publish)
	} else {
		t.sink, err = impf.NewConfirmed(broker, publish, impf.Account{User: t.ReadUser, Password: password(t.ReadPasswordFile)})
	}
	return err
}

// mqttUsers are the users that an account has at a broker.
func (a *account) mqttUsers() (users []string) {
	if t := a.MQTT; t != nil {
		users = append(users, t.URL+" "+t.User)
		if t.ReadUser != "" {
			users = append(users, t.URL+" "+t.ReadUser)
		}
	}
	return users
}

// format says of the station what the header says.
func (t *mqttTable) format(s *stream) (ingest.Format, int, error) {
	h := &s.header
	m := impf.Metadata{
		GIN: t.GIN, Institute: h.Source, Name: h.Station,
		Latitude: json.Number(h.Latitude), Longitude: json.Number(h.Longitude), Elevation: json.Number(h.Elevation),
		SensorOrientation: h.Orientation, DigitalSampling: h.Sampling, DataIntervalType: h.Interval, Comments: h.Comments,
	}
	hour := sample.RowAt(0) // its message has the metadata
	for i := range s.series.Elements {
		hour.Values[i] = sample.Missing
	}
	if _, _, err := m.Message(s.series, []sample.Row{hour}); err != nil {
		return nil, 0, fmt.Errorf("what its messages are to say is wrong (F of a scalar instrument is S there, by a rename filter): %w", err)
	}
	return m.Message, 1, nil
}

func (t *mqttTable) open(ctx context.Context, _ *slog.Logger) (ingest.Sink, io.Closer, error) {
	for _, file := range []string{t.PasswordFile, t.ReadPasswordFile} {
		if file == "" {
			continue
		}
		if _, err := password(file)(ctx); err != nil {
			return nil, nil, err
		}
	}
	return t.sink, closer(t.sink.Close), nil
}
