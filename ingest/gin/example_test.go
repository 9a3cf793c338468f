package gin_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

// The reply to an upload is lost. The service is asked before the file is sent again.
func ExampleClient_Reconcile() {
	node, err := gintest.New(gintest.Config{
		Accounts: []gintest.Account{{User: "imo-tst", Password: "secret", Stations: []string{"TST"}}},
		Fault:    once(gintest.Upload, gintest.CutReply),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	if err := node.Start("127.0.0.1:0", nil); err != nil {
		fmt.Println(err)
		return
	}
	client, err := gin.New(gin.Config{
		URL: node.URL(), User: "imo-tst", Password: func(context.Context) (string, error) { return "secret", nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := gintest.Synthetic("TST", time.Date(2024, 3, 15, 3, 55, 0, 0, time.UTC), 5, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	_, err = client.Upload(ctx, file.Name, file.Data)
	if _, open := errors.AsType[*gin.UnknownError](err); open {
		id, found, err := client.Reconcile(ctx, file, 0)
		fmt.Println("it arrived:", found, id, err)
		fmt.Println("its bytes are there:", client.Verify(ctx, file, id, gin.Downloaded) == nil)
	}
	// Output:
	// it arrived: true 1 <nil>
	// its bytes are there: true
}
