package expression

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// written are the arguments that must stand in the expression itself. What one
// call costs is known only when it is done, and with these from a request it
// could be anything: a regular expression of the caller's, a short text put
// between all characters of a long one. The receiver of a call is not counted.
var written = map[string][]int{
	"matches":     {0},
	"replace":     {0, 1, 2},
	"join":        {0},
	"format":      {},
	"lists.range": {0},
}

// checkWritten returns what is wrong with the arguments of calls.
func checkWritten(checked *cel.Ast) (err error) {
	tree := checked.NativeRep()
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || err != nil {
			return
		}
		call := e.AsCall()
		positions, known := written[call.FunctionName()]
		if !known {
			return
		}
		arguments := call.Args()
		if call.IsMemberFunction() {
			if call.FunctionName() == "format" {
				positions, arguments = []int{0}, []ast.Expr{call.Target()}
			}
		} else if call.FunctionName() == "matches" {
			positions = []int{1} // matches(text, pattern)
		}
		for _, p := range positions {
			if p < len(arguments) && arguments[p].Kind() != ast.LiteralKind {
				at := tree.SourceInfo().GetStartLocation(arguments[p].ID())
				err = fmt.Errorf("line %d, column %d: %s wants this to be written out here, not taken from a request or an identity",
					at.Line(), at.Column()+1, call.FunctionName())
				return
			}
		}
	}))
	return err
}
