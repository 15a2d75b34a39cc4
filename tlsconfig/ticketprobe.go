package tlsconfig

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"time"
)

// opensTicketsOf reports whether inner's UnwrapSession opens what outer's
// WrapSession seals: the closures cannot be compared, so a session of a
// handshake in memory is handed from one to the other. A hook that panics or
// fails opens nothing.
func opensTicketsOf(outer, inner *tls.Config) (opens bool) {
	defer func() {
		if recover() != nil {
			opens = false
		}
	}()
	cs, session := probeSession()
	if session == nil {
		return false
	}
	ticket, err := outer.WrapSession(cs, session)
	if err != nil {
		return false
	}
	opened, err := inner.UnwrapSession(ticket, cs)
	return err == nil && opened != nil
}

// probeSession makes a session between a server and a client in memory.
func probeSession() (cs tls.ConnectionState, session *tls.SessionState) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cs, nil
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return cs, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() { // ends when far closes
		client := tls.Client(far, &tls.Config{
			InsecureSkipVerify: true, // #nosec G402 -- the certificate was made a moment ago, in this function
			MinVersion:         tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		})
		_ = client.HandshakeContext(ctx)
		_, _ = client.Read(make([]byte, 1)) // takes the ticket off the pipe
	}()
	server := tls.Server(near, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS13,
		WrapSession: func(state tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
			cs, session = state, ss
			return []byte("ticket"), nil
		},
	})
	if err := server.HandshakeContext(ctx); err != nil {
		return cs, nil
	}
	return cs, session
}
