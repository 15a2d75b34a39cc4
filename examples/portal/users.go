package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/inovy/hardening/session/password"
)

// role is what a user may do. A user has exactly one.
type role string

const (
	patient role = "patient"
	doctor  role = "doctor"
	admin   role = "admin"
)

// user is someone who can log in. A patient's ID is also the name of the file
// that the hospital keeps about them.
type user struct {
	ID     string
	Name   string
	Role   role
	Treats []string // patients with whom a doctor has a treatment relation
}

// treats reports whether u is a doctor with a treatment relation to the patient.
func (u *user) treats(patientID string) bool {
	return u.Role == doctor && slices.Contains(u.Treats, patientID)
}

// sees says in words what the user may open.
func (u *user) sees() string {
	switch u.Role {
	case doctor:
		return "files of " + strings.Join(u.Treats, " and ") + "; others in an emergency"
	case patient:
		return "own file, and who opened it"
	}
	return "audit trail and checks, no files"
}

// demoUsers are invented. Their passwords are secrets of the state directory.
var demoUsers = [...]user{
	{ID: "vermeer", Name: "Dr. Noor Vermeer", Role: doctor, Treats: []string{"jansen", "bakker"}},
	{ID: "jansen", Name: "Anna Jansen", Role: patient},
	{ID: "bakker", Name: "Bram Bakker", Role: patient},
	{ID: "visser", Name: "Carla Visser", Role: patient},
	{ID: "beheer", Name: "Mila Beheer", Role: admin},
}

// directory knows the users and proves who they are.
type directory struct {
	hasher *password.Hasher
	byID   map[string]*user // never changes

	mu     sync.Mutex
	stored map[string]string // user id -> encoded hash; guarded by mu
}

// newDirectory hashes the demo passwords, because only the hashes may stay in
// memory. A real service reads the hashes from its database.
func newDirectory(ctx context.Context, hasher *password.Hasher, passwordOf func(id string) string) (*directory, error) {
	d := &directory{hasher: hasher, byID: map[string]*user{}, stored: map[string]string{}}
	for _, u := range demoUsers {
		encoded, err := hasher.Hash(ctx, passwordOf(u.ID))
		if err != nil {
			return nil, err
		}
		d.byID[u.ID], d.stored[u.ID] = &u, encoded
	}
	return d, nil
}

// verify returns the user whose password this is, or nil. An unknown name
// costs the same work as a wrong password, so that the time of the answer does
// not tell who has a file here.
func (d *directory) verify(ctx context.Context, id, candidate string) (*user, error) {
	d.mu.Lock()
	stored := d.stored[id]
	d.mu.Unlock()
	result, err := d.hasher.Verify(ctx, stored, candidate)
	if errors.Is(err, password.ErrTooLong) {
		return nil, nil // nobody has such a password
	}
	if err != nil || !result.OK {
		return nil, err
	}
	if result.NewHash != "" { // hashed with weaker parameters than today's
		d.mu.Lock()
		if d.stored[id] == stored {
			d.stored[id] = result.NewHash
		}
		d.mu.Unlock()
	}
	return d.byID[id], nil
}

// patients returns every patient, in the order of demoUsers.
func (d *directory) patients() []*user {
	var out []*user
	for _, u := range demoUsers {
		if u.Role == patient {
			out = append(out, d.byID[u.ID])
		}
	}
	return out
}

// patient returns the patient with that id, or nil.
func (d *directory) patient(id string) *user {
	if u := d.byID[id]; u != nil && u.Role == patient {
		return u
	}
	return nil
}
