package mailer_test

import (
	"context"
	"io"
	"testing"

	"github.com/obskeep/obskeep/report/mailer"
)

func BenchmarkMessage_WriteTo(b *testing.B) {
	m := compose(b, trouble())
	for b.Loop() {
		if _, err := m.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// What it costs to write a message down, read it, send it nowhere and remove it.
func BenchmarkSpool_Send(b *testing.B) {
	spool := &mailer.Spool{Dir: b.TempDir(), Sender: senderFunc(func(context.Context, *mailer.Message) error { return nil })}
	m := compose(b, trouble())
	for b.Loop() {
		if err := spool.Send(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}
