package tokenstore

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// Open opens the store that a setting names: "sqlite:PATH", or a postgres://
// URL. password is of the PostgreSQL user; empty: as libpq finds one (PGPASSWORD,
// ~/.pgpass) or none. SQLite is opened at once; PostgreSQL when it is first
// asked for something.
func Open(ctx context.Context, store string, password authz.Secret) (Store, error) {
	if problem := SettingFault(store); problem != "" {
		return nil, fmt.Errorf("opening the token store: %s", problem)
	}
	if path, ok := strings.CutPrefix(store, "sqlite:"); ok {
		return openSQLite(ctx, path)
	}
	return openPostgres(ctx, store, password)
}

// SettingFault says what is wrong with the setting of a store, without repeating
// it, or "".
func SettingFault(store string) string {
	if path, ok := strings.CutPrefix(store, "sqlite:"); ok {
		if path == "" || strings.HasPrefix(path, ":") {
			return "name a file: sqlite:gatelodge.db"
		}
		return ""
	}
	u, err := url.Parse(store)
	switch {
	case err != nil, u.Scheme != "postgres" && u.Scheme != "postgresql":
		return "write sqlite:gatelodge.db, or postgres://user@host:5432/database"
	case u.Host == "" && u.Query().Get("host") == "":
		return "names no host: write postgres://user@host:5432/database"
	}
	if _, set := u.User.Password(); set || u.Query().Has("password") {
		return "holds a password: take it out and give it as store_password: {env: NAME}"
	}
	return ""
}
