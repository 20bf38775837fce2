package tokenstore

import (
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// View is a token as the command line and the admin API show it in JSON. Only
// the answer that makes a token holds Token.
type View struct {
	ID          string     `json:"id"`
	Token       string     `json:"token,omitempty"`
	User        string     `json:"user"`
	Name        string     `json:"name"`
	Expires     *time.Time `json:"expires"` // null: never
	Status      Status     `json:"status"`
	Description string     `json:"description,omitempty"`

	Groups   []string       `json:"groups,omitempty"`
	ReadOnly bool           `json:"read_only"`
	Hosts    []string       `json:"hosts,omitempty"`
	Paths    []string       `json:"paths,omitempty"`
	Sources  []netip.Prefix `json:"sources,omitempty"`

	CreatedBy     string     `json:"created_by"`
	Created       time.Time  `json:"created"`
	Rotated       *time.Time `json:"rotated,omitempty"`
	PreviousUntil *time.Time `json:"previous_until,omitempty"` // the old secret goes on so long
	Revoked       *time.Time `json:"revoked,omitempty"`
	RevokedBy     string     `json:"revoked_by,omitempty"`
	LastUsed      *time.Time `json:"last_used"` // null: never
	LastSource    string     `json:"last_source,omitempty"`

	Hash    string      `json:"token_sha256,omitempty"` // only where it was asked for
	History []EventView `json:"history,omitempty"`
}

// EventView is an event in JSON.
type EventView struct {
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	Action string    `json:"action"`
}

// View returns the record as it is shown at a time.
func (r *Record) View(at time.Time) View {
	v := View{
		ID: r.ID, User: r.Owner, Name: r.Name, Expires: optional(r.Expires), Status: r.Status(at), Description: r.Description,
		Groups: r.Groups, ReadOnly: r.Limits.ReadOnly, Hosts: r.Limits.Hosts, Paths: r.Limits.Paths, Sources: r.Limits.Sources,
		CreatedBy: r.CreatedBy, Created: r.Created, Rotated: optional(r.Rotated), Revoked: optional(r.Revoked), RevokedBy: r.RevokedBy,
		LastUsed: optional(r.LastUsed), LastSource: addrText(r.LastSource),
	}
	if at.Before(r.PreviousUntil) {
		v.PreviousUntil = optional(r.PreviousUntil)
	}
	for _, e := range r.History {
		v.History = append(v.History, EventView(e))
	}
	return v
}

// WithSecret returns the view with the token itself: for the one answer that
// shows it.
func (v View) WithSecret(s authz.Secret) View {
	v.Token = s.Reveal()
	return v
}

// WithHash returns the view with the hash of the present secret, for import
// into another store.
func (v View) WithHash(h Hash) View {
	v.Hash = hex.EncodeToString(h[:])
	return v
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
