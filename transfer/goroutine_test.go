package transfer_test

import (
	"bytes"
	"runtime"
)

// goroutine names the goroutine that calls it.
func goroutine() string {
	buf := make([]byte, 64)
	buf = buf[:runtime.Stack(buf, false)]
	name, _, _ := bytes.Cut(buf, []byte(" ["))
	return string(name)
}
