package session

import "errors"

// Errors of the manager and of a session. Compare with errors.Is.
var (
	// ErrNotWrapped says that the context does not come from a request that
	// went through this manager's Wrap. It is a fault of the program.
	ErrNotWrapped = errors.New("session: the request did not pass through this manager's Wrap; serve the handler inside it, and pass the request's own context")

	// ErrUnavailable says that the store, the keys or the audit trail could
	// not be reached. The room answers the request with 503, whatever the
	// handler writes.
	ErrUnavailable = errors.New("session: sessions are unavailable")

	// ErrUnrecorded comes with ErrUnavailable from Logout and the revocations:
	// they took effect, but the audit trail did not take the record.
	ErrUnrecorded = errors.New("session: it took effect, but the audit trail did not take the record")

	// ErrNotKept says that a [CookieStore] cannot tell which sessions there are.
	ErrNotKept = errors.New("session: sessions in cookies are not kept anywhere")

	// ErrRevoked says that the session was ended elsewhere while this request
	// ran. The user has to log in again.
	ErrRevoked = errors.New("session: the session was ended meanwhile")

	// ErrInUpdate says that what Update runs called something that changes the
	// request's own session (Update, Login, Logout, RevokeOthers, CSRFToken), or
	// wrote the response: it would wait for itself, and gave up after 5 seconds.
	// So does what handles the record of a change of that session, after 30
	// seconds. Call it when Update, or the change, has returned.
	ErrInUpdate = errors.New("session: called from inside an Update or the record of a change, which it would wait for; call it afterwards")

	// ErrTooLate says that the response header is already sent, so that
	// neither a cookie nor a refusal can reach the client any more.
	ErrTooLate = errors.New("session: the response header is already sent; change the session before the first write")

	// ErrTooLarge says that the data is larger than Config.MaxDataBytes, or than
	// fits into a cookie with a [CookieStore]. The error tells both sizes.
	ErrTooLarge = errors.New("session: the data is too large")

	// ErrInvalid says that a user id or an Auth is not usable.
	ErrInvalid = errors.New("session: not a usable user id or authentication")

	// ErrAnonymous and ErrStepUp are the causes of the refusals of Require:
	// nobody is logged in, and the login is too weak or too long ago.
	ErrAnonymous = errors.New("session: nobody is logged in")
	ErrStepUp    = errors.New("session: the login is too weak or too long ago")
)
