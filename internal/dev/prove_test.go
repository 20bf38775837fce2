package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

func TestProving(t *testing.T) {
	const source = `package p
import ("testing"; "github.com/gatelodge/gatelodge/internal/realtest")
func TestLong(t *testing.T) { realtest.Proof(t) }
func TestScaled(t *testing.T) { t.Run("x", func(t *testing.T) { _ = realtest.Scale(1, 9) }) }
func TestByHelper(t *testing.T) { many(t) }
func TestByMethod(t *testing.T) { w := world{}; w.load(t) }
func TestShort(t *testing.T) { few(t) }
func TestRound(t *testing.T) { round(t) }
func many(t *testing.T) { _ = realtest.Scale(1, 9) }
func few(t *testing.T) { realtest.Postgres(t) }
func round(t *testing.T) { round(t) }
type world struct{}
func (world) load(t *testing.T) { many(t) }
`
	f, err := parser.ParseFile(token.NewFileSet(), "p_test.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	const want = "TestByHelper TestByMethod TestLong TestScaled"
	if got := strings.Join(proving([]*ast.File{f}), " "); got != want {
		t.Errorf("proofs: %s, want %s", got, want)
	}
}
