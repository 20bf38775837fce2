package adminapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// Bounds of one page of a list, and of what is made at once.
const (
	defaultPage = 100
	maxPage     = 1000
	maxImport   = 1000
)

// page is the answer to list.
type page struct {
	Tokens []tokenstore.View `json:"tokens"`
	Next   string            `json:"next,omitempty"` // what to send as after for the rest
}

// ended is the answer to what revokes many.
type ended struct {
	Found   *int              `json:"found,omitempty"` // different tokens in the text
	Revoked []tokenstore.View `json:"revoked"`
}

func (a *api) list(w http.ResponseWriter, r *request) error {
	q := r.query
	f, err := a.filter(r.who, q["user"], q["older_than"], q["unused"])
	if err != nil {
		return err
	}
	if err := f.OfStatus(tokenstore.Status(q["status"]), a.Now()); err != nil {
		return err
	}
	limit := defaultPage
	if text := q["limit"]; text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPage || text != strconv.Itoa(limit) {
			return bad("limit: a number from 1 to " + strconv.Itoa(maxPage))
		}
	}
	f.After, f.Limit = q["after"], limit+1
	records, err := r.tokens.List(r.Context(), f)
	if err != nil {
		return err
	}
	var out page
	if len(records) > limit {
		records = records[:limit]
		out.Next = records[limit-1].ID
	}
	out.Tokens = a.views(records)
	return answer(w, http.StatusOK, out)
}

// filter makes a filter of what was asked for, within what the caller may see.
func (a *api) filter(who *caller, user, olderThan, unused string) (f tokenstore.Filter, err error) {
	if f.Owner = user; who.role == self {
		if user != "" && user != who.user {
			return f, denied("you see your own tokens alone")
		}
		f.Owner = who.user
	}
	now := a.Now()
	for _, one := range []struct {
		name, text string
		to         *time.Time
	}{{"older_than", olderThan, &f.OlderThan}, {"unused", unused, &f.UnusedSince}} {
		if one.text == "" {
			continue
		}
		age, err := tokenstore.ParseLifetime(one.text)
		if err != nil {
			return f, bad(one.name + ": " + err.Error())
		}
		*one.to = now.Add(-age)
	}
	return f, nil
}

func (a *api) create(w http.ResponseWriter, r *request) error {
	var o tokenstore.Order
	if err := readJSON(w, r.Request, &o); err != nil {
		return err
	}
	if o.User == "" {
		o.User = r.who.user
	}
	if err := r.who.mayCreate(a.Access(), o.User, o.Groups); err != nil {
		return err
	}
	made, err := r.tokens.Create(r.Context(), r.who.actor, o)
	if err != nil {
		return err
	}
	w.Header().Set("Location", Root+"tokens/"+made.ID)
	return answer(w, http.StatusCreated, made.View(a.Now()).WithSecret(made.Secret))
}

func (a *api) importMany(w http.ResponseWriter, r *request) error {
	var orders []tokenstore.Order
	if err := readJSON(w, r.Request, &orders); err != nil {
		return err
	}
	if len(orders) == 0 || len(orders) > maxImport {
		return bad("send from 1 to " + strconv.Itoa(maxImport) + " tokens at once")
	}
	made, err := r.tokens.Import(r.Context(), r.who.actor, orders)
	if err != nil {
		return err
	}
	out := page{Tokens: make([]tokenstore.View, len(made))}
	for n := range made {
		out.Tokens[n] = made[n].View(a.Now()).WithSecret(made[n].Secret)
	}
	return answer(w, http.StatusCreated, out)
}

func (a *api) show(w http.ResponseWriter, r *request) error {
	record, err := r.tokens.Show(r.Context(), one(r))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, record.View(a.Now()))
}

// one is the token that a path names. One that the caller may not see is not
// there.
func one(r *request) tokenstore.Filter {
	return tokenstore.Filter{ID: r.PathValue("id"), Owner: r.who.owner()}
}

// rotation is the body of rotate.
type rotation struct {
	Overlap string `json:"overlap"`
	Expires string `json:"expires"`
}

func (a *api) rotate(w http.ResponseWriter, r *request) error {
	if err := r.who.mayHave(a.Access()); err != nil {
		return err
	}
	o := rotation{Overlap: tokenstore.FormatLifetime(tokenstore.DefaultOverlap)}
	if err := readJSON(w, r.Request, &o); err != nil {
		return err
	}
	overlap, err := tokenstore.ParseLifetime(o.Overlap)
	if err != nil {
		return bad("overlap: " + err.Error())
	}
	made, err := r.tokens.Rotate(r.Context(), r.who.actor, one(r), overlap, o.Expires)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, made.View(a.Now()).WithSecret(made.Secret))
}

func (a *api) revoke(w http.ResponseWriter, r *request) error {
	f := one(r)
	revoked, err := r.tokens.Revoke(r.Context(), r.who.actor, f)
	switch {
	case err != nil:
		return err
	case len(revoked) > 0:
		return answer(w, http.StatusOK, revoked[0].View(a.Now()))
	}
	record, err := r.tokens.Show(r.Context(), f)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, record.View(a.Now()))
}

// selection is the body of what revokes many.
type selection struct {
	User      string `json:"user"`
	OlderThan string `json:"older_than"`
	Unused    string `json:"unused"`
}

func (a *api) revokeMany(w http.ResponseWriter, r *request) error {
	var s selection
	if err := readJSON(w, r.Request, &s); err != nil {
		return err
	}
	if s == (selection{}) {
		return bad("say which: user, older_than or unused")
	}
	f, err := a.filter(r.who, s.User, s.OlderThan, s.Unused)
	if err != nil {
		return err
	}
	records, err := r.tokens.Revoke(r.Context(), r.who.actor, f)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, ended{Revoked: a.views(records)})
}

func (a *api) revokeLeaked(w http.ResponseWriter, r *request) error {
	text, err := readBody(w, r.Request, "text/plain", errNotText)
	if err != nil {
		return err
	}
	records, found, err := r.tokens.RevokeLeaked(r.Context(), r.who.actor, tokenstore.Filter{Owner: r.who.owner()}, string(text))
	switch {
	case err != nil && len(records) > 0:
		a.Log.Error("admin API: revoked a part of what leaked", "revoked", len(records), "error", err)
		return newProblem(http.StatusServiceUnavailable, "the token store went away after "+strconv.Itoa(len(records))+" tokens were revoked; send the text again")
	case err != nil:
		return err
	}
	return answer(w, http.StatusOK, ended{Found: &found, Revoked: a.views(records)})
}

func (a *api) views(records []tokenstore.Record) []tokenstore.View {
	now := a.Now()
	list := make([]tokenstore.View, len(records))
	for i := range records {
		list[i] = records[i].View(now)
	}
	return list
}

func answer(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
	return nil
}
