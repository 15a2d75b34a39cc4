package redissession_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/redissession"
)

// hung is a server of a Cluster that says which slots it has, and nothing else.
func hung(_ context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		in := bufio.NewReader(server)
		for {
			head, err := in.ReadString('\n')
			if err != nil || head[0] != '*' {
				return
			}
			n, _ := strconv.Atoi(strings.TrimSpace(head[1:]))
			name := ""
			for i := range n {
				size, _ := in.ReadString('\n')
				length, _ := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(size, "$")))
				b := make([]byte, length+2)
				if _, err := io.ReadFull(in, b); err != nil {
					return
				}
				if i == 0 {
					name = strings.ToLower(string(b[:length]))
				}
			}
			reply := ""
			switch name {
			case "cluster":
				reply = "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:6379\r\n$40\r\n" + strings.Repeat("a", 40) + "\r\n"
			case "hello", "client":
				reply = "-ERR unknown command\r\n"
			}
			if _, err := io.WriteString(server, reply); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// A process that starts while a server of its Cluster hangs: no call takes longer
// than its context allows.
func TestAHungServerOfAClusterCostsNoMoreThanTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:6379"}, Dialer: hung, ContextTimeoutEnabled: true, MaxRetries: -1})
		defer func() { _ = client.Close() }()
		store, err := redissession.New(redissession.Config{Client: client, Namespace: namespace})
		if err != nil {
			t.Fatal(err)
		}
		for name, ask := range map[string]func(context.Context) error{
			"a read":       func(ctx context.Context) error { _, err := store.Load(ctx, session.Ref{}); return err },
			"a logout":     func(ctx context.Context) error { _, err := store.Delete(ctx, session.Ref{}); return err },
			"a revocation": func(ctx context.Context) error { return store.RevokeAll(ctx, time.Now(), time.Now().Add(time.Hour)) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			start := time.Now()
			if err := ask(ctx); err == nil || time.Since(start) != 100*time.Millisecond {
				t.Errorf("%s took %v: %v", name, time.Since(start), err)
			}
			cancel()
		}
	})
}

func TestAClientThatReadsFromReplicasIsAFault(t *testing.T) {
	for name, o := range map[string]*redis.ClusterOptions{"ReadOnly": {ReadOnly: true}, "RouteByLatency": {RouteByLatency: true}, "RouteRandomly": {RouteRandomly: true}} {
		o.Addrs, o.ContextTimeoutEnabled = []string{"127.0.0.1:1"}, true
		c := redis.NewClusterClient(o)
		t.Cleanup(func() { _ = c.Close() })
		if _, err := redissession.New(redissession.Config{Client: c, Namespace: namespace}); err == nil || !strings.Contains(err.Error(), "clear ReadOnly, RouteByLatency and RouteRandomly") {
			t.Errorf("%s: %v", name, err)
		}
	}
	deaf := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = deaf.Close() })
	if _, err := redissession.New(redissession.Config{Client: deaf, Namespace: namespace}); err == nil || !strings.Contains(err.Error(), "set ContextTimeoutEnabled") {
		t.Errorf("a client that keeps no deadline: %v", err)
	}
}
