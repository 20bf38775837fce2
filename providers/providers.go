package providers

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// A Provider is an authz.Provider with what the commands and the admin pages
// ask of it.
type Provider interface {
	authz.Provider

	// Attributes returns the provider's whole answer about a credential, after
	// the same proofs as Verify but before a username is looked for in it: what
	// an administrator chooses the username attribute from.
	Attributes(ctx context.Context, c authz.Credential) (map[string]any, error)

	// Status says whether the provider can decide now. It does no I/O.
	Status() Status

	// Close ends what the provider does in the background.
	Close()
}

// A Claimant is a Provider that can say what it makes of an answer which it
// takes for proven: all its checks but those of a signature or of a call. It is
// for trying out settings, and never for a request. The error is that of Verify.
type Claimant interface {
	Claim(claims map[string]any) (authz.Identity, error)
}

// Status is the health of one provider, for /readyz and the console.
type Status struct {
	Ready         bool
	Misconfigured bool   // the fault is ours; waiting will not mend it
	Detail        string // what is missing or was last seen; holds no secret
}

// Env is what a provider is given of the world.
type Env struct {
	Now func() time.Time // the clock; never nil
	Log *slog.Logger     // never nil
}

// A Kind is one line of the table: how providers of a type are made.
type Kind struct {
	Type    string
	Aliases []string

	// Keys are the keys of Config that this kind understands beside those
	// that every kind does.
	Keys []string

	// Defaults fills in what the administrator left out.
	Defaults func(*Config)

	// Check returns all that is wrong with c after Defaults.
	Check func(c Config) []authz.Fault

	// Places says where in the provider's console the right value of a key
	// stands: it is told with every fault of that key.
	Places map[string]string

	// Warn returns what c allows that is weaker than it looks; nil: nothing.
	Warn func(c Config) []authz.Fault

	// Shape says how this provider's credentials are told from others'; nil:
	// by a prefix of their own.
	Shape func(c Config) Shape

	// SignIn returns where tokens are fetched, for the login command: Issuer,
	// and Discovery where its metadata is not at the well-known place; or
	// Authorization, Token and DeviceAuthorization where it publishes none. What
	// c.Endpoints sets wins over it. nil: what c.Endpoints sets is all there is.
	SignIn func(c Config) Endpoints

	// New makes a provider of a Config that Check found nothing wrong with.
	// It does no I/O of its own: keys and metadata are fetched in the
	// background, and a provider that is down does not keep us from starting.
	New func(c Config, env Env) (Provider, error)
}
