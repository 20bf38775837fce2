package tokenstore

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// migrations holds, for each kind of store, the steps from an empty database
// to the present one: "1_tokens.sql" and so on, never changed once released.
//
//go:embed migrations
var migrations embed.FS

type migration struct {
	version int
	script  string
}

// migrationsOf returns the steps of one kind of store, in order.
func migrationsOf(kind string) ([]migration, error) {
	dir := path.Join("migrations", kind)
	files, err := fs.ReadDir(migrations, dir)
	if err != nil {
		return nil, err
	}
	var steps []migration
	for _, f := range files {
		number, _, _ := strings.Cut(f.Name(), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("%s: not a number and a name", f.Name())
		}
		script, err := migrations.ReadFile(path.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		steps = append(steps, migration{version, string(script)})
	}
	slices.SortFunc(steps, func(a, b migration) int { return cmp.Compare(a.version, b.version) })
	return steps, nil
}

// migrate brings a database up to date in one transaction, which must let no
// other one in. version and setVersion read and write the number of the last
// step that was taken.
func migrate(ctx context.Context, tx *sql.Tx, kind string,
	version func(context.Context, *sql.Tx) (int, error), setVersion func(context.Context, *sql.Tx, int) error,
) error {
	steps, err := migrationsOf(kind)
	if err != nil {
		return err
	}
	have, err := version(ctx, tx)
	if err != nil {
		return err
	}
	if latest := steps[len(steps)-1].version; have > latest {
		return fmt.Errorf("it was made by a newer gatelodge (schema %d, this one knows %d)", have, latest)
	}
	for _, step := range steps {
		if step.version <= have {
			continue
		}
		if _, err := tx.ExecContext(ctx, step.script); err != nil {
			return fmt.Errorf("step %d: %w", step.version, err)
		}
		if err := setVersion(ctx, tx, step.version); err != nil {
			return fmt.Errorf("step %d: %w", step.version, err)
		}
	}
	return nil
}
