package script

import (
	"errors"

	"github.com/obskeep/obskeep/vmimage"
)

// Retention is how many images of each machine stay, as a configuration says it; none
// of these: all.
type Retention struct {
	Last    int `toml:"keep_last"`
	Daily   int `toml:"keep_daily"`
	Weekly  int `toml:"keep_weekly"`
	Monthly int `toml:"keep_monthly"`
	Yearly  int `toml:"keep_yearly"`
	Least   int `toml:"keep_least"` // verified ones, whatever the others say; default 1
}

// Check returns what is wrong with the numbers.
func (r *Retention) Check() error {
	for _, n := range []int{r.Last, r.Daily, r.Weekly, r.Monthly, r.Yearly, r.Least} {
		if n < 0 {
			return errors.New("a number of images to keep is negative")
		}
	}
	if r.Least > 0 && *r == (Retention{Least: r.Least}) {
		return errors.New("target.keep_least alone lets nothing go: want it beside keep_last, keep_daily, keep_weekly, keep_monthly or keep_yearly")
	}
	return nil
}

// Policy is what the numbers say.
func (r *Retention) Policy() vmimage.Policy {
	return vmimage.Policy{Last: r.Last, Daily: r.Daily, Weekly: r.Weekly, Monthly: r.Monthly, Yearly: r.Yearly, Least: r.Least}
}
