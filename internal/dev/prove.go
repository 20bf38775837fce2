package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// prove runs the proofs at full size, one package after the other, so that
// they do not disturb each other's measurements: the tests that call
// realtest.Proof, and those that call realtest.Scale. It closes with what they
// measured. Arguments are packages, instead of all.
func prove(ctx context.Context, args []string) error {
	began := time.Now()
	if err := setup(ctx, nil); err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"./..."}
	}
	packages, err := proofs(ctx, args)
	if err != nil {
		return err
	}
	if len(packages) == 0 {
		return errors.New("no proof in " + strings.Join(args, " "))
	}
	var measured []string
	var failed error
	for _, p := range packages {
		found, err := p.run(ctx)
		measured = append(measured, found...)
		failed = errors.Join(failed, err)
	}
	fmt.Printf("\nMeasured:\n%s\n", indent(strings.Join(measured, "\n")))
	if failed != nil {
		return failed
	}
	fmt.Printf("\nAll proven after %.0f s.\n", time.Since(began).Seconds())
	return nil
}

// A proof is a package with tests that prove something at length.
type proof struct {
	importPath string
	tests      []string
}

// run runs the tests, and returns what they measured.
func (p proof) run(ctx context.Context) ([]string, error) {
	args := []string{
		"test", "-count=1", "-timeout=60m", "-v",
		"-run", "^(" + strings.Join(p.tests, "|") + ")$", p.importPath,
	}
	fmt.Printf("prove: %s=1 CI=true go %s\n", realtest.ProveVariable, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, "go", args...)
	// A proof without its real part would prove nothing: that is a failure.
	cmd.Env = append(os.Environ(), realtest.ProveVariable+"=1", "CI=true")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &out), os.Stderr
	err := cmd.Run()
	var found []string
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		if _, what, ok := strings.Cut(lines.Text(), realtest.MeasuredMark); ok {
			found = append(found, what)
		}
	}
	if err != nil {
		return found, fmt.Errorf("%s: %w", p.importPath, err)
	}
	return found, nil
}

// proofs finds the tests that prove something, package by package.
func proofs(ctx context.Context, patterns []string) ([]proof, error) {
	args := append([]string{"list", "-json=Dir,ImportPath,TestGoFiles,XTestGoFiles"}, patterns...)
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []proof
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir, ImportPath           string
			TestGoFiles, XTestGoFiles []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		var files []*ast.File
		for _, name := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
		if tests := proving(files); len(tests) > 0 {
			all = append(all, proof{importPath: p.ImportPath, tests: tests})
		}
	}
}

// proving returns the tests in files that call realtest.Proof or
// realtest.Scale, themselves or by a function of the same package.
func proving(files []*ast.File) []string {
	uses := map[string][]string{} // a function or method, to the names it uses
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				uses[fn.Name.Name] = append(uses[fn.Name.Name], used(fn.Body)...)
			}
		}
	}
	var tests []string
	for name := range uses {
		if strings.HasPrefix(name, "Test") && reaches(name, uses, map[string]bool{}) {
			tests = append(tests, name)
		}
	}
	slices.Sort(tests)
	return tests
}

func used(body *ast.BlockStmt) (names []string) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			names = append(names, n.Sel.Name)
			if x, ok := n.X.(*ast.Ident); ok {
				names = append(names, x.Name+"."+n.Sel.Name)
			}
		case *ast.Ident:
			names = append(names, n.Name)
		}
		return true
	})
	return names
}

func reaches(name string, uses map[string][]string, seen map[string]bool) bool {
	if name == "realtest.Proof" || name == "realtest.Scale" {
		return true
	}
	if seen[name] {
		return false
	}
	seen[name] = true
	return slices.ContainsFunc(uses[name], func(next string) bool { return reaches(next, uses, seen) })
}
