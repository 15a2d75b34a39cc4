package redislimit_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/ratelimit/storetest"
)

// What the package documentation gives the service's user, and what more on a
// Cluster.
const (
	acl        = "resetchannels -@all +hello +auth +ping +evalsha +eval +time +get +set +pttl"
	clusterACL = "+cluster|slots"
)

func TestTheDocumentationGivesTheUserOfTheTests(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"user limits on >password ~portal:* " + acl + "\n", "add " + clusterACL + ".\n"} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("doc.go does not say %q", want)
		}
	}
}

// newUser makes a user who may do no more than the rules say.
func newUser(t *testing.T, admin *redis.Client, name, password, rules string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", name, "on", ">" + password, "~test-*"}
	for rule := range strings.FieldsSeq(rules) {
		args = append(args, rule)
	}
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Do(context.Background(), "ACL", "DELUSER", name) })
}

// leastUser is a client of a user that may do no more than that.
func leastUser(t *testing.T, admin *redis.Client) *redis.Client {
	user, password := "limits-"+strings.ToLower(rand.Text()[:8]), rand.Text()
	newUser(t, admin, user, password, acl)
	client := redis.NewClient(&redis.Options{Addr: admin.Options().Addr, Username: user, Password: password, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// leastUserOfACluster is the same on every node of a Cluster.
func leastUserOfACluster(t *testing.T, admin *redis.ClusterClient) *redis.ClusterClient {
	password := rand.Text()
	for _, addr := range admin.Options().Addrs {
		node := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = node.Close() })
		newUser(t, node, "limits", password, acl+" "+clusterACL)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: admin.Options().Addrs, Username: "limits", Password: password, ContextTimeoutEnabled: true, MaxRedirects: 3,
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestRedisHoldsToTheContractForTheLeastUser(t *testing.T) {
	addr := testenv.Redis(t)
	admin := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = admin.Close() })
	client := leastUser(t, admin)
	storetest.Run(t, nodes(client))
	t.Run("after SCRIPT FLUSH", func(t *testing.T) {
		s := newStore(t, client)
		for i := range 10 {
			if err := admin.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if ok, st := take(t, s, charge(5)); ok != (i < 5) || st.Degraded {
				t.Errorf("request %d: %t, %+v", i+1, ok, st)
			}
		}
	})
}
