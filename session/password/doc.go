// Package password stores passwords as argon2id or bcrypt hashes, with a pepper
// if there is one, checks them within a memory budget, and says which new ones
// are good enough.
//
//	passwords, err := password.New(password.Config{})
//	policy, err := password.NewPolicy(password.PolicyConfig{Words: []string{"portal"}})
//	err = policy.Accept(ctx, typed, user.Login, user.Name) // when one is chosen
//	stored, err := passwords.Hash(ctx, typed)
//
//	res, err := passwords.Verify(ctx, stored, typed) // stored == "" for an unknown user
//	if err == nil && res.OK && res.NewHash != "" {
//		// UPDATE users SET hash = NewHash WHERE id = ... AND hash = stored
//	}
//
// # Threat model
//
// A stolen table: argon2id with at least OWASP's minimum cost, a random salt
// for each password, and a pepper, without which there is nothing to guess at.
// A flood of logins: hashing takes memory by design, so a budget bounds how
// many run at once and how many wait; the rest get [ErrBusy] or their context's
// error, and should be answered with 503. A hostile row in the table: what a
// stored hash may cost is capped before it is computed. Who has an account: an
// unknown user costs the same work as a wrong password. A race between a
// password change and a login that upgrades the hash: NewHash is to be written
// only where the old hash still stands. Not covered: weak passwords, guessing
// over the network (limit it), and a server that is taken over while users log
// in. Passwords are taken byte for byte, neither trimmed nor cut (ASVS
// v5.0.0-6.2.8): what bcrypt would cut off is refused.
//
// The budget bounds what hashes hold; the garbage collector lets go of it
// later, so plan for about twice as much.
package password
