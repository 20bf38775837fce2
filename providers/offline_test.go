package providers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// A token that can be checked with the keys at hand is; for one that cannot,
// Verify is left to ask.
func TestVerifyOffline(t *testing.T) {
	i := providertest.NewIssuer(t)
	p := newOIDC(t, i, nil).(authz.Offline)
	good := bearer(i.Token("alice", nil))
	if _, err := p.Verify(t.Context(), good); err != nil { // waits for the keys
		t.Fatal(err)
	}
	good.Notes = new(authz.Notes)
	if !p.Owns(good) || good.Notes.Value == nil {
		t.Error("the claims are not kept in the notes")
	}
	id, done, err := p.VerifyOffline(t.Context(), good)
	if !done || err != nil || id.User != "alice" {
		t.Errorf("good: %v %v %v", id.User, done, err)
	}
	secret := good.Secret.Reveal()
	from := uintptr(unsafe.Pointer(unsafe.StringData(secret)))
	for _, s := range append(id.Groups, id.User, id.Subject, id.Email, id.Client, id.TokenID) {
		if at := uintptr(unsafe.Pointer(unsafe.StringData(s))); at >= from && at < from+uintptr(len(secret)) {
			t.Errorf("%q is part of the credential's memory", s)
		}
	}

	// Notes are of one credential: with another they count for nothing.
	other := bearer(i.Token("bob", nil))
	other.Notes = good.Notes
	if id, done, err := p.VerifyOffline(t.Context(), other); !done || err != nil || id.User != "bob" {
		t.Errorf("notes of another token: %v %v %v", id.User, done, err)
	}

	bad := bearer(secret[:len(secret)-8] + "AAAAAAAA")
	if _, done, err := p.VerifyOffline(t.Context(), bad); !done || reasonOf(err) != authz.ReasonSignature {
		t.Errorf("bad signature: %v %v", done, err)
	}
	key := i.AddKey(t, "new", "ES256")
	unknown := bearer(key.Sign(map[string]any{"alg": "ES256", "kid": "new"}, i.Claims("carol", nil)))
	if _, done, _ := p.VerifyOffline(t.Context(), unknown); done {
		t.Error("a token of an unknown key is decided without asking for the key")
	}
	if id, err := p.Verify(t.Context(), unknown); err != nil || id.User != "carol" {
		t.Errorf("a new key: %v %v", id.User, err)
	}

	i.Fail(providertest.Down)
	down := newOIDC(t, i, nil).(authz.Offline)
	if _, done, _ := down.VerifyOffline(t.Context(), good); done {
		t.Error("a token is decided without keys")
	}
}

// A kind that is made of a jwtProvider and more must say itself what
// VerifyOffline is: the embedded one would pass what it adds by.
func TestVerifyOfflineIsNotPromoted(t *testing.T) {
	methods, embeds := map[string]map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil {
					receiver := typeName(n.Recv.List[0].Type)
					if methods[receiver] == nil {
						methods[receiver] = map[string]bool{}
					}
					methods[receiver][n.Name.Name] = true
				}
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					for _, field := range s.Fields.List {
						if len(field.Names) == 0 && strings.HasPrefix(typeName(field.Type), "jwt") {
							embeds[n.Name.Name] = true
						}
					}
				}
			}
			return true
		})
	}
	if !methods["jwtProvider"]["VerifyOffline"] {
		t.Fatal("jwtProvider is not found")
	}
	for name := range embeds {
		if !methods[name]["VerifyOffline"] {
			t.Errorf("the VerifyOffline of %s is that of the embedded provider", name)
		}
	}
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
