package auditlog

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/mod/sumdb/note"
)

type countingSigner struct {
	note.Signer
	n *atomic.Int64
}

func (s countingSigner) Sign(msg []byte) ([]byte, error) { s.n.Add(1); return s.Signer.Sign(msg) }

func TestTheNextBatchIsSignedWhileTheDiskIsBusy(t *testing.T) {
	for _, tc := range []struct {
		name     string
		late     int // records after the batch was signed ahead
		ahead    int64
		together int64
	}{
		{"as many as expected: no signature is left to do", 0, 1, 1},
		{"more than expected: signed again with all", 3, 1, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, shut, opened := gated(t)
				l := open(t, cfg)
				record(t, l, read("first"))
				var signed atomic.Int64
				l.mu.Lock()
				l.signer = countingSigner{l.signer, &signed}
				l.mu.Unlock()
				shut()
				var callers sync.WaitGroup
				add := func() {
					callers.Go(func() { record(t, l, read("p")) })
					synctest.Wait()
				}
				add() // hangs at the disk
				onTheWay := signed.Load()
				add() // the next batch: as many as in the one before
				if got := signed.Load() - onTheWay; got != tc.ahead {
					t.Errorf("%d signatures while the disk was busy, want %d", got, tc.ahead)
				}
				for range tc.late {
					add()
				}
				opened()
				callers.Wait()
				if got := signed.Load() - onTheWay; got != tc.together {
					t.Errorf("%d signatures for the batch, want %d", got, tc.together)
				}
				must(t, l.Close())
				r, err := Verify(t.Context(), cfg.Dir, l.VerifierKey(), VerifyOptions{})
				if err != nil || r.Status != StatusOK {
					t.Errorf("%+v, %v", r, err)
				}
			})
		})
	}
}
