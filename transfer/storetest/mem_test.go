package storetest_test

import (
	"testing"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/storetest"
)

func TestMem(t *testing.T) {
	storetest.Run(t, func(*testing.T) transfer.Store { return new(storetest.Mem) })
}
