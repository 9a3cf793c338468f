package obskeep_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/obskeep/obskeep"

// deps are the packages that a package brings in, without the standard library.
func deps(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", pkg)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	require.NoError(t, err)
	return strings.Fields(string(out))
}

// The roots of the module can be imported without anything heavy: the standard
// library, golang.org/x and each other.
func TestImports_RootsBringInNothingHeavy(t *testing.T) {
	t.Parallel()
	allowed := map[string][]string{
		"./julian":           {module + "/julian"},
		"./diskspace":        {module + "/diskspace", module + "/internal/", "golang.org/x/"},
		"./report":           {module + "/report", module + "/julian", module + "/internal/"},
		"./transfer":         {module + "/transfer", module + "/internal/", "golang.org/x/"},
		"./transfer/keep":    {module + "/", "golang.org/x/"},
		"./vmimage":          {module + "/", "golang.org/x/"},
		"./vmimage/virt":     {module + "/vmimage/virt"},
		"./ingest":           {module + "/ingest", module + "/internal/", module + "/julian", "golang.org/x/"},
		"./ingest/filter":    {module + "/ingest/"},
		"./ingest/iaga2002":  {module + "/ingest/", module + "/julian"},
		"./ingest/imf":       {module + "/ingest/", module + "/julian"},
		"./ingest/columns":   {module + "/ingest/", module + "/julian"},
		".":                  {module},
		"./internal/durable": {module + "/internal/durable"},
	}
	for pkg, prefixes := range allowed {
		for _, dep := range deps(t, pkg) {
			ok := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(dep, p) })
			require.True(t, ok, "%s brings in %s", pkg, dep)
			require.NotContains(t, dep, "golang.org/x/crypto", "%s brings in SSH", pkg)
		}
	}
}

// Each heavy module is imported by one leaf package alone, beside mains and tests.
func TestImports_HeavyModulesStayInTheirLeaves(t *testing.T) {
	t.Parallel()
	leaves := map[string][]string{
		"golang.org/x/crypto/ssh":            {"transfer/sshstore"},
		"github.com/pkg/sftp":                {"transfer/sshstore"},
		"github.com/skeema/knownhosts":       {"transfer/sshstore"},
		"github.com/wneessen/go-mail":        {"report/mailer"},
		"github.com/digitalocean/go-libvirt": {"vmimage/virt/libvirt"},
		"github.com/lima-vm/go-qcow2reader":  {"vmimage/disk"},
		"github.com/icholy/digest":           {"ingest/gin"},
		"github.com/eclipse/paho":            {"ingest/impf"},
		"github.com/fsnotify/fsnotify":       {"ingest/watch"},
		"github.com/BurntSushi/toml":         {"examples"},
		"github.com/schollz/progressbar":     {"examples"},
	}
	cmd := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...")
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(strings.TrimPrefix(fields[0], module), "/")
		for _, imported := range fields[1:] {
			for heavy, leaf := range leaves {
				if strings.HasPrefix(imported, heavy) {
					ok := slices.ContainsFunc(append(leaf, "examples"), func(l string) bool { return pkg == l || strings.HasPrefix(pkg, l+"/") })
					require.True(t, ok, "%s imports %s", pkg, imported)
				}
			}
		}
	}
}

// The top level holds what the README says and nothing else.
func TestLayout_TopLevel(t *testing.T) {
	t.Parallel()
	allowed := []string{
		"julian", "transfer", "vmimage", "diskspace", "report", "ingest", "examples", "internal",
		"doc.go", "go.mod", "go.sum", "README.md", "LICENSE", "CHANGELOG.md", "rules_test.go",
	}
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			require.Contains(t, allowed, e.Name())
		}
	}
}

// Every folder with Go code says in its package comment what it is for.
func TestLayout_EveryPackageHasAComment(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-f", "{{.ImportPath}}\t{{.Doc}}", "./...")
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		pkg, doc, _ := strings.Cut(strings.TrimSpace(line), "\t")
		require.NotEmpty(t, doc, filepath.ToSlash(pkg))
	}
}
