package providers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatelodge/gatelodge/authz"
)

// StaticUsers is the name by which rules mean the users of the htpasswd file.
const StaticUsers = "static-users"

// Bounds on the costly part of a static user's login.
const (
	passwordQueue   = 64 // logins that wait for their turn; more are told to come back
	passwordWait    = 2 * time.Second
	passwordBadFor  = 10 * time.Second // how long a wrong password is remembered
	maxPassword     = 72               // bytes; bcrypt ignores what is behind
	maxHtpasswdFile = 4 << 20
)

// Htpasswd is the provider of static users, who log in by Basic with a password
// from a file as htpasswd writes it: user:hash, a line each. Only hashes made
// for passwords are taken: bcrypt and argon2id.
type Htpasswd struct {
	users  map[string]passwordHash
	decoys []passwordHash    // like those of the users, and of no password
	key    [sha256.Size]byte // of the file: which decoy stands for whom is the same in each replica, and after a restart
	queue  chan struct{}     // a place for each login that works or waits
	turns  chan struct{}     // a place for each that works
}

// A passwordHash checks one password. What it costs depends on its parameters
// alone.
type passwordHash interface {
	matches(password []byte) bool
	// decoy returns a hash with the same parameters that no password has.
	decoy(random io.Reader) (passwordHash, error)
}

// ReadHtpasswd reads the text of a file. The error names every faulty line,
// and shows no hash.
func ReadHtpasswd(text []byte) (*Htpasswd, error) {
	if len(text) > maxHtpasswdFile {
		return nil, fmt.Errorf("larger than %d bytes", maxHtpasswdFile)
	}
	workers := max(1, runtime.GOMAXPROCS(0)/2)
	h := &Htpasswd{
		users: map[string]passwordHash{},
		key:   sha256.Sum256(text),
		queue: make(chan struct{}, workers+passwordQueue),
		turns: make(chan struct{}, workers),
	}
	var faults []error
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := h.add(line); err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", n, err))
		}
	}
	if err := lines.Err(); err != nil {
		faults = append(faults, err)
	}
	if len(h.users) == 0 && len(faults) == 0 {
		faults = append(faults, errors.New("holds no user"))
	}
	return h, errors.Join(faults...)
}

func (h *Htpasswd) add(line string) error {
	user, text, ok := strings.Cut(line, ":")
	switch {
	case !ok:
		return errors.New("is not user:hash")
	case user == "" || len(user) > 256 || !utf8.ValidString(user) || strings.TrimSpace(user) != user || strings.ContainsFunc(user, unicode.IsControl):
		return errors.New("the user is empty, too long or not plain text")
	case h.users[user] != nil:
		return fmt.Errorf("the user %q is there twice", user)
	}
	hash, err := readPasswordHash(text)
	if err != nil {
		return fmt.Errorf("the user %q: %w", user, err)
	}
	decoy, err := hash.decoy(rand.Reader)
	if err != nil {
		return fmt.Errorf("the user %q: %w", user, err)
	}
	h.users[user] = hash
	h.decoys = append(h.decoys, decoy)
	return nil
}

// Owns implements authz.Provider: Basic, unless the password is an API token.
func (h *Htpasswd) Owns(c authz.Credential) bool {
	return c.Kind == authz.Basic && !strings.HasPrefix(c.Secret.Reveal(), tokenPrefix)
}

// Verify implements authz.Provider. It costs as much for a user that there is
// not as for one that there is: a decoy's hash is computed instead, the same
// one each time.
func (h *Htpasswd) Verify(ctx context.Context, c authz.Credential) (authz.Identity, error) {
	if err := h.wait(ctx); err != nil {
		return authz.Identity{}, err
	}
	defer func() { <-h.turns; <-h.queue }()
	hash, known := h.users[c.User]
	if !known {
		hash = h.decoy(c.User)
	}
	password := []byte(c.Secret.Reveal())
	tooLong := len(password) > maxPassword
	password = password[:min(len(password), maxPassword)]
	matches := hash.matches(password)
	clear(password)
	if !matches || !known || tooLong {
		return authz.Identity{}, &authz.Rejection{Reason: authz.ReasonPassword, CacheFor: passwordBadFor}
	}
	return authz.Identity{User: c.User, Subject: c.User, Issuer: StaticUsers}, nil
}

// decoy returns the hash that stands for a user that there is not. Where the file has
// hashes of several costs, it must be the same one always and everywhere: whose
// cost changes, is nobody.
func (h *Htpasswd) decoy(user string) passwordHash {
	mac := hmac.New(sha256.New, h.key[:])
	mac.Write([]byte(user))
	return h.decoys[binary.BigEndian.Uint64(mac.Sum(nil))%uint64(len(h.decoys))]
}

// wait waits for a turn, or says that there are too many before us.
func (h *Htpasswd) wait(ctx context.Context) error {
	busy := func(cause error) error {
		return &authz.Unavailable{Cause: cause, RetryAfter: passwordWait, Throttled: true}
	}
	select {
	case h.queue <- struct{}{}:
	default:
		return busy(errors.New("too many logins by password at once"))
	}
	ctx, cancel := context.WithTimeout(ctx, passwordWait)
	defer cancel()
	select {
	case h.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-h.queue
		return busy(errors.New("logins by password take their turns, and this one's did not come"))
	}
}

// Attributes implements Provider.
func (h *Htpasswd) Attributes(context.Context, authz.Credential) (map[string]any, error) {
	return nil, errors.New("static users have no attributes besides their name")
}

// Status implements Provider: what is in memory can always be decided on.
func (h *Htpasswd) Status() Status { return Status{Ready: true} }

// Close implements Provider.
func (h *Htpasswd) Close() {}

var _ Provider = (*Htpasswd)(nil)
