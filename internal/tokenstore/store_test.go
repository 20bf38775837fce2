package tokenstore_test

import (
	"path/filepath"
	"testing"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
	"github.com/gatelodge/gatelodge/internal/tokenstore/storetest"
)

func mustOpen(t testing.TB, setting string) tokenstore.Store {
	t.Helper()
	s, err := tokenstore.Open(t.Context(), setting, authz.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func sqliteFile(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "tokens of ? & #1%.db")
}

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (tokenstore.Store, func() tokenstore.Store) {
		setting := sqliteFile(t)
		return mustOpen(t, setting), func() tokenstore.Store { return mustOpen(t, setting) }
	})
}

func TestPostgres(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (tokenstore.Store, func() tokenstore.Store) {
		setting := realtest.Postgres(t)
		return mustOpen(t, setting), func() tokenstore.Store { return mustOpen(t, setting) }
	})
}
