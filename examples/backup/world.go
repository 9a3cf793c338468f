package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/obskeep/obskeep/examples/internal/demo"
	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/julian"
)

// demonstrate does the job in a small world: a simulation host has the days of a model.
func (j *job) demonstrate(ctx context.Context) (int, error) {
	today := julian.DateOf(time.Now().UTC())
	w, err := demo.New("simulation-host", "backup/supim")
	if err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	defer w.Close()
	for _, day := range julian.Window(today, 2) {
		if err := simulate(w.Path("simulation-host/supim"), day); err != nil {
			return 0, fmt.Errorf("demonstration: %w", err)
		}
	}
	if err := w.Serve("simulation-host"); err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	file, err := w.WriteConfig("supim.toml", "[source]\n"+w.SSH()+`path = "supim/%Y/%j"
settled = "10m"

[target]
path = "DIR/backup/supim/%Y/%j"
reserve = "1 MiB"
keep = 400
`)
	if err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	if err := script.ReadConfig(file, &j.config); err != nil {
		return 0, err
	}
	j.demo = !j.flags.JSON && !j.flags.DryRun
	code, err := j.run(ctx)
	if !j.demo {
		return code, errors.Join(err, w.Remove())
	}
	mails, mailErr := w.Mails()
	fmt.Fprintf(j.stdout, `
That was the real job, over SSH and SMTP on the loopback, with synthetic data:
  the simulation host   %s
  the kept days         %s
  the mail              %s
  the configuration     %s
Each kept day can be verified without us:
  cd %s && sha256sum -c SHA256SUMS.obskeep
The folder is yours to look at and to remove.
`, w.Path("simulation-host"), w.Path("backup"), mails, file,
		w.Path("backup/supim", julian.MustParsePattern("%Y/%j").Format(today)))
	return code, errors.Join(err, mailErr)
}

// simulate writes a day as an ionosphere model might: profiles of electron
// density by the hour, from a Chapman layer that follows the sun.
func simulate(dir string, day julian.Date) error {
	folder := filepath.Join(dir, filepath.FromSlash(julian.MustParsePattern("%Y/%j").Format(day)))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	written := min(day.AddDays(1).In(time.UTC).Unix(), time.Now().Add(-time.Hour).Unix())
	for hour := range 24 {
		var text strings.Builder
		fmt.Fprintf(&text, "# synthetic, not measured: electron density of %v, %02d UT, Cachoeira Paulista\n# km 1/m3\n", day, hour)
		for km := 90.0; km <= 1000; km += 2 {
			z := (km - 300) / 50
			peak := 2e11 + 1e12*math.Max(0, math.Cos(2*math.Pi*float64(hour-17)/24))
			fmt.Fprintf(&text, "%6.1f %.4e\n", km, peak*math.Exp((1-z-math.Exp(-z))/2))
		}
		name := filepath.Join(folder, fmt.Sprintf("supim-%v-%02d.dat", day, hour))
		err := os.WriteFile(name, []byte(text.String()), 0o644)
		if err := errors.Join(err, os.Chtimes(name, time.Time{}, time.Unix(written, 0))); err != nil {
			return err
		}
	}
	return os.Chtimes(folder, time.Time{}, time.Unix(written, 0))
}
