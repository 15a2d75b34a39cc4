package redissession_test

import (
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/session"
)

// threeNodes starts a Cluster of three masters that share the slots.
func threeNodes(t *testing.T) (client *redis.ClusterClient, nodes []*redis.Client) {
	t.Helper()
	const slots = 16384
	var addrs []string
	for i := range 3 {
		cmd, addr, bus := startNode(t, t.TempDir())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		node := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: 50, MaxRetryBackoff: 100 * time.Millisecond})
		t.Cleanup(func() { _ = node.Close() })
		if err := node.ClusterAddSlotsRange(t.Context(), i*slots/3, (i+1)*slots/3-1).Err(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			host, port, _ := net.SplitHostPort(addr)
			if err := nodes[0].Do(t.Context(), "CLUSTER", "MEET", host, port, bus).Err(); err != nil {
				t.Fatal(err)
			}
		}
		addrs, nodes = append(addrs, addr), append(nodes, node)
	}
	for _, n := range nodes {
		awaitCluster(t, n, 3)
	}
	user, password := leastUser(t, acl+" "+clusterACL, nodes...)
	client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true, Username: user, Password: password})
	t.Cleanup(func() { _ = client.Close() })
	return client, nodes
}

// Users are spread over the nodes of a Cluster. What concerns one of them asks one
// node, and what concerns everybody reaches all.
func TestAClusterOfThreeNodesKeepsEveryPromise(t *testing.T) {
	client, nodes := threeNodes(t)
	m := newManager(t, newStore(t, client))
	const users = 40
	var ids [users][2]string
	as := func(i int) string { return "user-" + strconv.Itoa(i) }
	for i := range users {
		for j := range ids[i] {
			res := call(m, "", func(_ http.ResponseWriter, r *http.Request) {
				if err := m.Login(r.Context(), as(i), session.Auth{}); err != nil {
					t.Error(err)
				}
			})
			ids[i][j] = res.Cookies()[0].Value
		}
	}
	for _, n := range nodes {
		keys, err := n.DBSize(t.Context()).Result()
		if err != nil || keys == 0 {
			t.Errorf("a node has %d keys, %v", keys, err)
		}
		wantTidy(t, place{client: n, admin: n})
	}
	alive := func(want func(user, session int) bool) {
		t.Helper()
		for i := range users {
			for j, id := range ids[i] {
				if user, _ := look(t, m, id); (user == as(i)) != want(i, j) {
					t.Errorf("session %d of %s: %q", j, as(i), user)
				}
			}
		}
	}
	alive(func(int, int) bool { return true })
	for i := range users {
		if l, err := m.List(t.Context(), as(i)); err != nil || len(l) != 2 {
			t.Errorf("%s has %d sessions, %v", as(i), len(l), err)
		}
	}
	for i := 0; i < users; i += 2 {
		if n, err := m.RevokeUser(t.Context(), as(i)); err != nil || n != 2 {
			t.Errorf("%d, %v", n, err)
		}
	}
	for i := 1; i < users; i += 4 {
		call(m, ids[i][0], func(_ http.ResponseWriter, r *http.Request) {
			if n, err := m.RevokeOthers(r.Context()); err != nil || n != 1 {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
	alive(func(user, session int) bool { return user%2 == 1 && (user%4 != 1 || session == 0) })
	if err := m.RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	alive(func(int, int) bool { return false })
	for i := range users {
		call(m, "", func(_ http.ResponseWriter, r *http.Request) {
			if err := m.Login(r.Context(), as(i), session.Auth{}); err != nil {
				t.Errorf("nobody can log in any more: %v", err)
			}
		})
		if n, err := m.EraseUser(t.Context(), as(i)); err != nil || n != 1 {
			t.Errorf("%d, %v", n, err)
		}
	}
	for _, n := range nodes {
		wantTidy(t, place{client: n, admin: n})
	}
}
