package redissession_test

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/session/redissession"
)

// place is a Redis to test against.
type place struct {
	client  redis.UniversalClient // as the service connects
	admin   redis.UniversalClient // may look at everything
	advance func(time.Duration)
}

func mini(t testing.TB) place {
	t.Helper()
	srv, err := miniredis.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	c := redis.NewClient(&redis.Options{Addr: srv.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = c.Close() })
	return place{client: c, admin: c, advance: srv.FastForward}
}

// What the package documentation gives the service's user, and what more on a
// Cluster.
const (
	acl        = "resetchannels resetkeys -@all +hello +ping +evalsha +eval +time +exists +del +get +set +mget +hget +hset +hmget +hincrby +pexpire +pttl +zadd +zrem +zrange"
	clusterACL = "+cluster|slots"
)

func TestTheDocumentationGivesTheUserOfTheTests(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(strings.NewReplacer("//", "", "\\", "").Replace(string(doc))), " ")
	rules, rest, _ := strings.Cut(acl, " -@all ")
	for _, want := range []string{rules + " ~portal:* -@all " + rest + " From", "add " + clusterACL + "."} {
		if !strings.Contains(text, want) {
			t.Errorf("doc.go does not say %q", want)
		}
	}
}

// leastUser makes a user on every node who may do no more than the rules say.
func leastUser(t testing.TB, rules string, nodes ...*redis.Client) (user, password string) {
	t.Helper()
	user, password = "sessions-"+strings.ToLower(rand.Text()[:8]), rand.Text()
	args := []any{"ACL", "SETUSER", user, "on", ">" + password}
	for rule := range strings.FieldsSeq(rules) {
		args = append(args, rule)
	}
	for _, ns := range []string{namespace, "other"} {
		args = append(args, "~"+ns+":*")
	}
	for _, admin := range nodes {
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Do(context.Background(), "ACL", "DELUSER", user).Err() })
	}
	return user, password
}

// real connects to a real server as a user with least privilege.
func real(t testing.TB) place {
	t.Helper()
	addr := testenv.Redis(t)
	admin := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = admin.Close() })
	user, password := leastUser(t, acl, admin)
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, Username: user, Password: password})
	t.Cleanup(func() {
		_ = c.Close()
		wipe(admin)
	})
	if err := c.Get(t.Context(), "somebody-else").Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Fatalf("the user may read what is not its own: %v", err)
	}
	return place{client: c, admin: admin, advance: age(t, admin)}
}

// cluster starts a Redis Cluster of one node, for a user with least privilege: it
// refuses a script whose keys lie in several slots, as any does.
func cluster(t testing.TB) place {
	t.Helper()
	if clusterNode.addr == "" {
		startCluster(t)
	}
	node := redis.NewClient(&redis.Options{Addr: clusterNode.addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { wipe(node); _ = node.Close() })
	user, password := leastUser(t, acl+" "+clusterACL, node)
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{clusterNode.addr}, ContextTimeoutEnabled: true, Username: user, Password: password})
	t.Cleanup(func() { _ = c.Close() })
	return place{client: c, admin: node, advance: age(t, node)}
}

// clusterNode is started by the first test that needs it; no test is parallel.
var clusterNode struct {
	dir, addr string
	cmd       *exec.Cmd
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "redissession")
	if err != nil {
		panic(err)
	}
	clusterNode.dir = dir
	code := m.Run()
	if clusterNode.cmd != nil {
		_ = clusterNode.cmd.Process.Kill()
		_ = clusterNode.cmd.Wait()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func startCluster(t testing.TB) {
	t.Helper()
	clusterNode.cmd, clusterNode.addr, _ = startNode(t, clusterNode.dir)
	node := redis.NewClient(&redis.Options{Addr: clusterNode.addr, ContextTimeoutEnabled: true, MaxRetries: 50, MaxRetryBackoff: 100 * time.Millisecond})
	defer func() { _ = node.Close() }()
	if err := node.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	awaitCluster(t, node, 1)
}

// startNode starts a server that is to be part of a Cluster, with its files in dir.
func startNode(t testing.TB, dir string) (cmd *exec.Cmd, addr, busPort string) {
	t.Helper()
	bin := testenv.Program(t, "apt-get install redis-server", "redis-server")
	port, busPort := freePort(t), freePort(t)
	cmd = exec.Command(bin, "--bind", "127.0.0.1", "--port", port, "--cluster-enabled", "yes", "--cluster-port", busPort, // #nosec G204 -- a test's own server
		"--cluster-config-file", dir+"/nodes.conf", "--save", "", "--appendonly", "no", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, "127.0.0.1:" + port, busPort
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	return port
}

// awaitCluster returns when node knows all n and every slot is served.
func awaitCluster(t testing.TB, node *redis.Client, n int) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := node.ClusterInfo(t.Context()).Result()
		if err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(n)+"\r") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("the cluster does not form: %v\n%s", err, info)
		}
	}
}

const namespace = "hardening-test"

func wipe(admin redis.UniversalClient) {
	ctx := context.Background()
	for it := admin.Scan(ctx, 0, namespace+":*", 1000).Iterator(); it.Next(ctx); {
		_ = admin.Del(ctx, it.Val()).Err()
	}
}

// age makes a real server's keys older, as miniredis can.
func age(t testing.TB, admin redis.UniversalClient) func(time.Duration) {
	return func(d time.Duration) {
		ctx := context.Background()
		for it := admin.Scan(ctx, 0, namespace+":*", 1000).Iterator(); it.Next(ctx); {
			left, err := admin.PTTL(ctx, it.Val()).Result()
			if err == nil && left > d {
				err = admin.PExpire(ctx, it.Val(), left-d).Err()
			} else if err == nil {
				err = admin.Del(ctx, it.Val()).Err()
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
}

var places = map[string]func(testing.TB) place{"miniredis": mini, "Redis with least privilege": real, "Redis Cluster": cluster}

func newStore(t testing.TB, client redis.UniversalClient) *redissession.Store {
	t.Helper()
	s, err := redissession.New(redissession.Config{Client: client, Namespace: namespace, WatchInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantTidy checks that every key has the namespace and a time to live.
func wantTidy(t *testing.T, p place) {
	t.Helper()
	n := 0
	for it := p.admin.Scan(t.Context(), 0, namespace+"*", 1000).Iterator(); it.Next(t.Context()); {
		n++
		key := it.Val()
		if left, err := p.admin.PTTL(t.Context(), key).Result(); err != nil || left <= 0 && left != -2 {
			t.Errorf("%s lives for %v, %v", key, left, err)
		}
		if !strings.HasPrefix(key, namespace+":{") {
			t.Errorf("%s has not the namespace", key)
		}
	}
	if n == 0 {
		t.Error("no key was looked at")
	}
	total, err := p.admin.DBSize(t.Context()).Result()
	if _, ok := p.admin.(*redis.Client); err == nil && ok && strings.HasPrefix(t.Name(), "TestStoreHoldsToTheContract/mini") && int(total) != n {
		t.Errorf("%d keys, of which %d have the namespace", total, n)
	}
}
