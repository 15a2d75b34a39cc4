package tlsconfig

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// trustGrace is how long a connection to a server that is not trusted any more
// may last: what a call may take by default, so that those under way end by
// themselves.
const trustGrace = callTimeout

// conns are the open connections of a client. It is safe for concurrent use.
type conns struct {
	mu      sync.Mutex // guards the fields below
	open    map[*knownConn]struct{}
	changes uint64      // of trust
	pending *time.Timer // the next look, if trust has changed
	judge   func(*peer) bool
}

// peer is who a connection leads to.
type peer struct {
	host  string
	certs []*x509.Certificate
}

// knownConn takes itself out of the list when it is closed.
type knownConn struct {
	net.Conn
	list *conns
	made uint64               // after how many changes
	peer atomic.Pointer[peer] // nil = not known: still shaking hands, or a tunnel that http.Transport speaks TLS in
}

// Close implements net.Conn.
func (k *knownConn) Close() error {
	k.list.mu.Lock()
	delete(k.list.open, k)
	k.list.mu.Unlock()
	return k.Conn.Close()
}

func (c *conns) add(raw net.Conn) *knownConn {
	k := &knownConn{Conn: raw, list: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[*knownConn]struct{}{}
	}
	k.made = c.changes
	c.open[k] = struct{}{}
	return k
}

// judgeIn looks after d at the connections that were made before now, and
// closes those that judge, or nobody, can answer for. A second change before
// then takes part in the same look, so that the bound of the first holds.
func (c *conns) judgeIn(d time.Duration, judge func(*peer) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judge = judge
	c.changes++
	if c.pending == nil {
		c.pending = time.AfterFunc(d, c.look)
	}
}

// look is the timer's function: stop waits for nothing, since it blocks on
// nothing but the closing of sockets.
func (c *conns) look() {
	c.mu.Lock()
	judge := c.judge
	c.pending, c.judge = nil, nil
	var open []*knownConn
	for k := range c.open {
		if k.made < c.changes {
			open = append(open, k)
		}
	}
	c.mu.Unlock()
	if judge == nil {
		return
	}
	for _, k := range open {
		if p := k.peer.Load(); p == nil || !judge(p) {
			_ = k.Close()
		}
	}
}

// stop has a look that is due later now: nothing will look after the client is
// closed.
func (c *conns) stop() {
	c.mu.Lock()
	due := c.pending != nil && c.pending.Stop()
	c.mu.Unlock()
	if due {
		c.look()
	}
}

// stillTrusted reports whether a connection to p could be made today.
func (c *Client) stillTrusted(p *peer) bool {
	cs := tls.ConnectionState{PeerCertificates: p.certs}
	if c.skip.on() {
		return c.unverified(cs) == nil
	}
	name := c.serverName
	if name == "" {
		name = p.host
	}
	return c.verify(&cs, name, false) == nil
}
