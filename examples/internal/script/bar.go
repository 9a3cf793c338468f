package script

import (
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/obskeep/obskeep/transfer"
)

// Progress returns a progress bar for Options.Progress of a transfer, one bar
// for each title, or nil if w is not a terminal. finish clears it.
func Progress(w io.Writer) (progress func(title string) func(transfer.Stats), finish func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(string) func(transfer.Stats) { return nil }, func() {}
	}
	var bar *progressbar.ProgressBar
	finish = func() {
		if bar != nil {
			_ = bar.Clear() // a terminal that is gone is no error
			bar = nil
		}
	}
	progress = func(title string) func(transfer.Stats) {
		finish()
		return func(s transfer.Stats) {
			if bar == nil {
				bar = progressbar.NewOptions64(s.Size,
					progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(title),
					progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
					progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(),
					progressbar.OptionClearOnFinish())
			}
			bar.ChangeMax64(max(s.Size, 1))
			_ = bar.Set64(min(s.Matched+s.Literal+s.Resumed, s.Size)) // as above
		}
	}
	return progress, finish
}
