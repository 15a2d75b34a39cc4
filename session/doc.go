// Package session keeps sessions that end when they end: typed data, an id
// that changes at every login, and a store contract under which a logged-out,
// renewed or revoked session can never be brought back by a slow request.
//
//	sessions, err := session.New[Visit](session.Config{Keys: ring, Audit: trail.Handler()})
//	h := sessions.Wrap(mux)
//
//	s, err := sessions.Get(r.Context())                 // never nil; anonymous until Login or Update
//	err = s.Update(func(v *Visit) { v.Pages++ })        // saved with the response
//	err = sessions.Login(ctx, user, session.Auth{Methods: []string{"pwd", "otp"}, AAL: 2})
//	err = sessions.Logout(ctx)
//	devices, err := sessions.List(ctx, user)            // and RevokeOne, RevokeOthers, RevokeUser, RevokeAll
//	token, err := s.CSRFToken()                         // for a form; sessions.CSRF(h) asks for it
//
// # Stores
//
// Sessions are kept in memory ([MemoryStore], the default), in Redis (package
// redissession), in any other [Store] that passes storetest, or, where nothing
// can be kept, in their own cookie ([CookieStore]). Every store but the last
// updates only what is there at the version that was read.
//
// # Where it stands
//
// Wrap inside the security headers and outside rate limits and the mux. It is
// lazy: a request whose handler never asks for the session costs no look at
// the cookie and no access to the store. What a handler changes is saved
// before the first header of its response is sent; if that fails, the client
// gets 503 and not one byte of the handler's body. A handler that panics saves
// nothing. What answers in a handler's place inside Wrap, as a recovery of panics
// or an http.TimeoutHandler does, saves with its answer what the handler had
// changed until then; a TimeoutHandler outside of Wrap can leave a session whose
// id nobody has, until it expires. Change the session before you write, and call
// Login before a connection is hijacked: later it is an error.
//
// # Threat model
//
// The room assumes TLS to the browser, and a store that holds to [Store]. Over
// plain HTTP browsers drop the cookie, and nobody stays logged in: to try a
// service without a certificate, on a loopback host, set Config.Environment.
// Against a stolen database: ids are stored as SHA-256 only, data outside this
// process sealed. Against fixation: every login issues a new id and kills the
// old one. Against resurrection: a store only ever updates what exists at the
// version that was read. Against forged cookies: ids are signed, a forgery
// never reaches the store. Against cookie tossing: a __Host- name, and of two
// valid cookies of one name neither is believed. Against requests that other
// sites forge: SameSite=Lax, and CSRF around what changes something. Against
// lost updates: compare-and-swap, with the mutators replayed. Against a store
// that is down: 503, never an anonymous page for a known user. Not covered: a
// browser that is itself taken over, and what an application writes into
// [Auth].
package session
