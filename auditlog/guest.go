package auditlog

import (
	"context"
	"errors"
	"fmt"
)

// guest makes the calls to one replica, anchor or sink, which is not this
// library's code: one at a time, and each is waited for as long as its context
// lasts. A call that ignores its context is left behind, and until it returns
// there is no other: what it does late can not cross what is done anew.
type guest struct {
	what any
	free chan struct{} // holds a token while no call is under way
}

var errLeftBehind = errors.New("an earlier call has not returned though its context ended")

func newGuest(what any) *guest {
	g := &guest{what, make(chan struct{}, 1)}
	g.free <- struct{}{}
	return g
}

// call returns f's error, or ctx's cause once that ended. What f hands out must
// not be used after an error.
func (g *guest) call(ctx context.Context, f func(context.Context) error) error {
	select {
	case <-g.free:
	case <-ctx.Done():
		return fmt.Errorf("%T: %w", g.what, errLeftBehind)
	}
	done := make(chan error, 1)
	go func() { // ends with f
		err := g.safely(ctx, f)
		g.free <- struct{}{}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // both: then the answer is known
		return err
	default:
		return fmt.Errorf("%T: %w", g.what, context.Cause(ctx))
	}
}

// safely turns a panic, which would end the process, into an error. Its value
// may hold anything and is not written.
func (g *guest) safely(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%T panicked with a %T", g.what, p)
		}
	}()
	return f(ctx)
}
