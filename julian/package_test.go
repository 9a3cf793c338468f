package julian_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// No function reads the clock or the local time zone, and the package imports
// the standard library only.
func TestPackage_KnowsNoClockNoLocalZoneAndNoOtherPackage(t *testing.T) {
	t.Parallel()
	forbidden := map[string]bool{
		"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true, "Tick": true,
		"NewTicker": true, "NewTimer": true, "Local": true, "LoadLocation": true, "Unix": true, "UnixMilli": true, "UnixMicro": true,
	}
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	read := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		read++
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, 0)
		require.NoError(t, err)
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s", name, imported)
			}
			if spec.Name != nil {
				t.Errorf("%s imports %s under another name, which hides what is used of it", name, imported)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			// time.Unix answers in the local zone; the method t.Unix does not.
			of, _ := selector.X.(*ast.Ident)
			ofPackage := of != nil && of.Name == "time"
			if selector.Sel.Name == "Local" || ofPackage && forbidden[selector.Sel.Name] {
				t.Errorf("%v: uses %s", fset.Position(selector.Pos()), selector.Sel.Name)
			}
			return true
		})
	}
	require.Positive(t, read)
}
