package session_test

import (
	"crypto/rand"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/redissession"
)

// storeEnv names the store that managers without one get in this run.
const storeEnv = "SESSION_TEST_STORE"

// storeOfThisRun is nil, for memory, but in the runs of
// [TestTheRoomKeepsItsPromisesOnRedis].
func storeOfThisRun(t testing.TB) session.Store {
	addr := ""
	switch os.Getenv(storeEnv) {
	case "":
		return nil
	case "miniredis":
		srv, err := miniredis.Run()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.Close)
		addr = srv.Addr()
	case "redis":
		addr = testenv.Redis(t)
	}
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	s, err := redissession.New(redissession.Config{Client: client, Namespace: "hardening-room-" + rand.Text()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// onRedis are the tests that this room runs on Redis as well. Those that move
// the clock are not among them: the contract's own tests do that for a store.
const onRedis = "^(TestTrap_.*|TestAnUntouched.*|TestARequestIsAnonymous.*|TestDataIsDecodedAfresh|TestFiftyParallel.*|TestMutatorsMay.*|" +
	"TestUpdate.*|TestLogin.*|TestLogout.*|TestAUserWho.*|TestRevokeUserActsAtOnce|TestChangingThePassword.*|TestWrapTwice.*|" +
	"TestTwoManagers.*|TestHoweverAResponse.*|TestATimeoutHandler.*|TestHijack.*|TestWhatWasBegun.*|TestAServerSentStream.*|TestHostileCookies|" +
	"TestKeysRotate.*|TestKeysThatTurnBad.*|TestRevokeOthers.*|TestRevokeAllEnds.*|TestListShows.*|TestCSRF|TestCSRFToken.*|" +
	"TestTheCookieIsSetOnce.*|TestDevelopment.*|TestEventsGoToAudit.*|TestMaxPerUser.*|TestOnDeny.*|TestRefusalsNameTheRequest|" +
	"TestExport.*|TestCookie|TestARevocation.*|TestErrNotWrapped.*|TestALogout.*|TestARefusal.*|TestDoneAfter.*|TestAudits.*|TestALogin.*|" +
	"TestAbuse.*|TestWhatLooks.*|TestRecordsNever.*|TestASessionOutlives.*)$"

const offRedis = "^TestTrap_(OneCookieHasManySpellings|OneUserFillsTheListOfEnds|OneUserFillsTheStoreForOthers|AShorterLifetimeDoesNotReachTheCookiesThereAre)$"

// Zombies, lost updates, fixation, replay, streams and hostile cookies, on Redis
// as they are in memory.
func TestTheRoomKeepsItsPromisesOnRedis(t *testing.T) {
	if os.Getenv(storeEnv) != "" {
		t.Skip("this is such a run")
	}
	for _, store := range []string{"miniredis", "redis"} {
		t.Run(store, func(t *testing.T) {
			if store == "redis" {
				testenv.Redis(t)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+onRedis, "-test.skip="+offRedis, "-test.v", "-test.short", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), storeEnv+"="+store)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if n := strings.Count(string(out), "\n--- PASS: "); n < 30 {
				t.Errorf("only %d tests ran\n%s", n, out)
			} else {
				t.Logf("%d tests", n)
			}
		})
	}
}
