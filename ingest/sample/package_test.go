package sample_test

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

// This package and the formats beside it know no clock, no disk and no local
// time zone, and import the standard library and each other only.
func TestPackage_KnowsNoClockNoDiskAndNoLocalTimeZone(t *testing.T) {
	t.Parallel()
	forbidden := map[string]bool{
		"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true, "Tick": true,
		"NewTicker": true, "NewTimer": true, "Local": true, "LoadLocation": true,
	}
	const module = "github.com/obskeep/obskeep/"
	ours := map[string]bool{module + "julian": true, module + "ingest/sample": true, module + "ingest/internal/fixed": true}
	for _, dir := range []string{".", "../iaga2002", "../imf", "../columns", "../filter", "../internal/fixed"} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, names, dir)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			require.NoError(t, err)
			for _, spec := range file.Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				require.NoError(t, err)
				first, _, _ := strings.Cut(imported, "/")
				pure := !strings.Contains(first, ".") && first != "os" && first != "net" || ours[imported]
				require.True(t, pure, "%s imports %s", name, imported)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && forbidden[s.Sel.Name] {
						t.Errorf("%s uses time.%s", name, s.Sel.Name)
					}
				}
				return true
			})
		}
	}
}
