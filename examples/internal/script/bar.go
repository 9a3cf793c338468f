package script

import (
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Progress returns what shows a progress bar of so many bytes done of a size, one bar
// for each title; nothing is shown if w is not a terminal. finish clears it.
func Progress(w io.Writer) (progress func(title string, done, size int64), finish func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(string, int64, int64) {}, func() {}
	}
	var bar *progressbar.ProgressBar
	shown := ""
	finish = func() {
		if bar != nil {
			_ = bar.Clear() // a terminal that is gone is no error
			bar = nil
		}
	}
	progress = func(title string, done, size int64) {
		if title != shown {
			finish()
			shown = title
		}
		if bar == nil {
			bar = progressbar.NewOptions64(size,
				progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(title),
				progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
				progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(),
				progressbar.OptionClearOnFinish())
		}
		bar.ChangeMax64(max(size, 1))
		_ = bar.Set64(min(done, size)) // as above
	}
	return progress, finish
}
