// Package cors answers Cross-Origin Resource Sharing (Fetch standard, section
// 3.2): it tells browsers which other sites' scripts may call an API and read
// its answers.
//
//	shared, err := cors.New(cors.Config{
//		Origins:        []string{"https://app.example", "https://*.clinic.example"},
//		Credentials:    true,
//		Methods:        []string{"PUT", "DELETE"},
//		RequestHeaders: []string{"Authorization", "Content-Type"},
//	})
//	if err != nil {
//		log.Fatal(err) // names every fault of the Config
//	}
//	mux.Handle("/api/", shared.Wrap(api))
//
// # Order
//
// Wrap inside headers.Middleware.Wrap and inside headers.Isolation.Wrap, whose
// TrustedOrigins must name the same sites where they change state; outside
// whatever asks for a login, because a browser's preflight carries none.
// Cross-Origin-Resource-Policy does not concern requests made with CORS.
//
// # Threat model
//
// The attacker serves another site to a user who is logged in here, registers
// names that look like ours, or sits on the network of an unencrypted origin.
// Guarded: New refuses what has made others share with everybody (credentials
// with wildcards, reflected or "null" origins, http, public suffixes, loose
// matching), a refused origin gets no Access-Control header at all, caches are
// told by Vary what the answer depends on, and no header memory is shared
// between requests. Not guarded: CORS lets sites in and keeps nobody out; a
// request that needs no preflight reaches the handler whatever its origin. Put
// headers.NewIsolation before handlers that change state.
package cors
