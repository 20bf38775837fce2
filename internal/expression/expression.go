// Package expression compiles the "when" of a rule: a CEL expression that must
// be true for a caller to pass.
//
// An expression sees two things. request has method, host, path (the normal
// form that rules see), source, headers (lower-case name → list of values) and
// context (what the route says of itself, name → value).
// identity has user, subject, issuer, email, groups, roles, scopes, client, app
// (whether it is a service), acr and attributes, the provider's whole answer.
//
//	identity.email.endsWith("@example.com") && request.method != "DELETE"
//	identity.attributes.department == "finance"
//
// Expressions are compiled and checked when the configuration is loaded, and
// what one evaluation may cost is limited. Patterns, replacements and the like
// have to be written out: from a request they could make one call cost anything.
// An error while evaluating (an
// attribute that is not there, the limit reached) denies. groups is not there
// when the provider did not tell all of them: who may be in more groups than
// the list says must not pass for somebody who is not in one.
package expression

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"

	"github.com/gatelodge/gatelodge/authz"
)

// costLimit bounds one evaluation, in CEL's own cost units: far above what a
// sensible expression needs and far below what a request would notice.
const costLimit = 20_000

// maxLength bounds the text of an expression in bytes.
const maxLength = 4096

type condition struct{ program cel.Program }

// Compile checks an expression and makes it ready. The error says what is
// wrong with the text and where in it.
func Compile(text string) (authz.Condition, error) {
	if len(text) > maxLength {
		return nil, fmt.Errorf("the expression has %d bytes, %d are the most", len(text), maxLength)
	}
	env, err := cel.NewEnv(
		cel.Variable("request", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("identity", cel.MapType(cel.StringType, cel.DynType)),
		ext.Strings(), ext.Sets(), ext.Lists(),
	)
	if err != nil {
		return nil, fmt.Errorf("preparing CEL: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, faults(issues)
	}
	// Members of a map are known only when a request is there, so an
	// expression that ends in one cannot be told from a true or false yet.
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("the expression gives %s, not true or false", t)
	}
	if err := checkWritten(ast); err != nil {
		return nil, err
	}
	program, err := env.Program(ast, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("preparing the expression: %w", err)
	}
	return condition{program}, nil
}

// faults says what is wrong with an expression, and where in it.
func faults(issues *cel.Issues) error {
	var list []error
	for _, e := range issues.Errors() {
		message, _, _ := strings.Cut(e.Message, "\n")
		list = append(list, fmt.Errorf("line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, message))
	}
	return errors.Join(list...)
}

var errNotBool = errors.New("the expression did not give true or false")

// Holds implements authz.Condition.
func (c condition) Holds(q *authz.Request, path string, id *authz.Identity) (bool, error) {
	out, _, err := c.program.Eval(map[string]any{
		"request":  requestOf(q, path),
		"identity": identityOf(id),
	})
	if err != nil {
		return false, err
	}
	yes, ok := out.Value().(bool)
	if !ok {
		return false, errNotBool
	}
	return yes, nil
}

func requestOf(q *authz.Request, path string) map[string]any {
	headers := make(map[string][]string, len(q.Headers))
	for _, h := range q.Headers {
		switch h.Name {
		case "authorization", "cookie", "proxy-authorization", "dpop", "x-api-key":
			continue // no expression has business with a credential
		}
		headers[h.Name] = append(headers[h.Name], h.Value)
	}
	source := ""
	if q.Source.IsValid() {
		source = q.Source.Unmap().String()
	}
	context := make(map[string]string, len(q.Context))
	for _, c := range q.Context {
		context[c.Name] = c.Value
	}
	return map[string]any{
		"method": q.Method, "host": q.Host, "path": path, "source": source, "headers": headers, "context": context,
	}
}

func identityOf(id *authz.Identity) map[string]any {
	attributes := id.Attributes
	if attributes == nil {
		attributes = map[string]any{}
	}
	m := map[string]any{
		"user": id.User, "subject": id.Subject, "issuer": id.Issuer, "email": id.Email,
		"groups": list(id.Groups), "roles": list(id.Roles), "scopes": list(id.Scopes),
		"client": id.Client, "app": id.App, "acr": id.ACR, "attributes": attributes,
	}
	if id.GroupsUnknown {
		delete(m, "groups")
	}
	return m
}

// list keeps an empty list from becoming null.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
