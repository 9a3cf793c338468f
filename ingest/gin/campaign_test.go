package gin_test

import (
	"cmp"
	"crypto/sha256"
	"flag"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

var (
	runs = flag.Int("campaign.runs", 500, "uploads with a fault")
	seed = flag.Uint64("campaign.seed", 1, "of the campaign's faults")
)

// site is a service in a folder that is restarted in the middle of requests, always
// under one address.
type site struct {
	dir, addr string

	mu     sync.Mutex
	server *gintest.Server
	up     chan struct{} // closed when the last restart has ended
	plan   plan
}

// plan is what goes wrong in a run: with its first upload, and with its first questions.
type plan struct {
	upload    gintest.Fault
	restart   bool
	questions []gintest.Fault
}

// fault gives a request its fault.
func (s *site) fault(t testing.TB, r gintest.Request) (f gintest.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r == gintest.Upload:
		f, s.plan.upload = s.plan.upload, gintest.None
		if s.plan.restart {
			s.plan.restart = false
			s.up = make(chan struct{})
			go s.restart(t, s.up)
		}
	case len(s.plan.questions) > 0:
		f, s.plan.questions = s.plan.questions[0], s.plan.questions[1:]
	}
	return f
}

func (s *site) open(t testing.TB) {
	server, err := gintest.New(gintest.Config{
		Dir: s.dir, Delay: 300 * time.Millisecond, Daily: 1 << 30,
		Accounts: []gintest.Account{{User: "tst", Password: secret, Stations: []string{"TST"}}},
		Fault:    func(r gintest.Request) gintest.Fault { return s.fault(t, r) },
	})
	if err == nil {
		err = server.Start(cmp.Or(s.addr, "127.0.0.1:0"), nil)
	}
	if err != nil {
		t.Error(err)
		return
	}
	s.addr = server.Addr()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = server
}

func (s *site) current() *gintest.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server
}

// restart kills the service.
func (s *site) restart(t testing.TB, up chan struct{}) {
	defer close(up)
	if err := s.current().Close(); err != nil {
		t.Error(err)
	}
	s.open(t)
}

// await waits until the service is up.
func (s *site) await() {
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	<-up
}

// Whatever goes wrong with an upload and with the questions after it, and when, what
// Upload and Reconcile say of a file is true; and a file is never stored twice.
func TestCampaign_WhatIsSaidOfAFileIsTrue(t *testing.T) {
	t.Parallel()
	const workers = 24
	var tally sync.Map
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			s := &site{dir: t.TempDir(), up: make(chan struct{})}
			close(s.up)
			s.open(t)
			defer func() { require.NoError(t, s.current().Close()) }()
			var after int64
			for i := w; i < *runs; i += workers {
				after = s.run(t, i, after, &tally)
				if t.Failed() {
					return
				}
			}
			held, err := s.current().Holdings()
			require.NoError(t, err)
			require.Zero(t, held.Repeated, "samples that came twice")
		})
	}
	wait.Wait()
	tally.Range(func(name, n any) bool {
		t.Logf("%-8s %d", name, n.(*atomic.Int64).Load())
		return true
	})
}

// run uploads one file, with a fault of its own, and returns the last id.
func (s *site) run(t testing.TB, i int, after int64, tally *sync.Map) int64 {
	rng := rand.New(rand.NewPCG(*seed, uint64(i)))
	f := synthetic(t, noon.Add(time.Duration(i)*time.Hour), rng.IntN(100))
	count := func(what string) {
		n, _ := tally.LoadOrStore(what, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
	}
	all := gintest.Faults()
	p := plan{upload: all[rng.IntN(len(all))], restart: rng.IntN(10) == 0}
	for range 2 {
		if q := all[rng.IntN(len(all))]; q != gintest.LoseReply {
			p.questions = append(p.questions, q)
		}
	}
	fault, restart := p.upload, p.restart
	s.mu.Lock()
	s.plan = p
	s.mu.Unlock()
	defer s.await()
	c := newClient(t, "http://"+s.addr, func(c *gin.Config) {
		switch fault {
		case gintest.SlowStore, gintest.SlowReply, gintest.LoseReply:
			c.Answer, c.Settle = 150*time.Millisecond, 2*time.Second
		default:
			c.Answer, c.Settle = 10*time.Second, 10*time.Millisecond
		}
	})

	sum := sha256.Sum256(f.Data)
	held := func() (id int64) {
		s.await()
		n := 0
		for _, h := range s.current().Files() {
			if h.SHA256 == sum {
				id, n = h.ID, n+1
			}
		}
		require.LessOrEqual(t, n, 1, "run %d: stored twice", i)
		return id
	}
	doubt := false
	for try := 0; ; try++ {
		require.Less(t, try, 10, "run %d (%v) comes to no end", i, fault)
		receipt, err := c.Upload(t.Context(), f.Name, f.Data)
		said := outcome(err)
		count(said)
		id := receipt.ID
		if said == "unknown" || doubt && said == "refused" {
			doubt = true
			id = s.ask(t, c, f, after)
		}
		if id == 0 && fault == gintest.SlowStore {
			time.Sleep(500 * time.Millisecond) // what is not there does not come later
		}
		if id != held() {
			t.Errorf("run %d (%v, restart %t): %v: believed to be %d, is %d", i, fault, restart, said, id, held())
		}
		if id > 0 || t.Failed() {
			return id
		}
	}
}

// ask asks until there is an answer.
func (s *site) ask(t testing.TB, c *gin.Client, f gin.File, after int64) int64 {
	for range 10 {
		id, _, err := c.Reconcile(t.Context(), f, after)
		if err == nil {
			return id
		}
		s.await()
	}
	t.Error("no answer")
	return 0
}
