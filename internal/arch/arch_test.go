package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// file is what the tests want to know about one Go file.
type file struct {
	pkg     string // its folder, below the module; "." for the root
	name    string // of the package
	comment string // the package comment, if this file has it
	imports []arrowHead
}

// arrowHead is one import of a package of ours.
type arrowHead struct {
	to    string
	where token.Position
}

// root is the folder that has go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above this folder")
		}
		dir = filepath.Dir(dir)
	}
}

// files parses every Go file of the module that is not a test.
func files(t *testing.T) []file {
	t.Helper()
	var all []file
	top := root(t)
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != top && isSkipped(entry.Name()):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parse(top, path)
		all = append(all, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go files")
	}
	return all
}

// isSkipped tells the folders in which the go command sees no packages.
func isSkipped(folder string) bool {
	return folder == "testdata" || strings.HasPrefix(folder, ".") || strings.HasPrefix(folder, "_")
}

func parse(top, path string) (file, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, path, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return file{}, err
	}
	below, err := filepath.Rel(top, filepath.Dir(path))
	if err != nil {
		return file{}, err
	}
	f := file{pkg: filepath.ToSlash(below), name: tree.Name.Name, comment: tree.Doc.Text()}
	for _, spec := range tree.Imports {
		to, ours := ourImport(spec)
		if ours {
			where := set.Position(spec.Pos())
			where.Filename = filepath.ToSlash(filepath.Join(below, filepath.Base(path)))
			f.imports = append(f.imports, arrowHead{to: to, where: where})
		}
	}
	return f, nil
}

// ourImport is the path below the module of an import of ours.
func ourImport(spec *ast.ImportSpec) (string, bool) {
	path, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return "", false
	}
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

func TestImportsFollowThePicture(t *testing.T) {
	for _, f := range files(t) {
		for _, head := range f.imports {
			if wrong := arrow(f.pkg, head.to); wrong != "" {
				t.Errorf("%s:%d: %s", head.where.Filename, head.where.Line, wrong)
			}
		}
	}
}

func TestPackagesHaveAPlaceAndAName(t *testing.T) {
	for _, f := range files(t) {
		if _, ok := ruleOf(f.pkg); !ok {
			t.Errorf("%s belongs to no part of the picture", f.pkg)
		}
		for _, name := range append(strings.Split(f.pkg, "/"), f.name) {
			if slices.Contains(nameless, name) {
				t.Errorf("%s (package %s): the name %q says nothing: name it for what it does", f.pkg, f.name, name)
			}
		}
	}
}

func TestPackagesHaveAComment(t *testing.T) {
	comments := map[string]string{}
	for _, f := range files(t) {
		comments[f.pkg] += f.comment
		if want := fmt.Sprintf("Package %s ", f.name); f.comment != "" && f.name != "main" && !strings.HasPrefix(f.comment, want) {
			t.Errorf("%s: the package comment starts %.30q, want %q", f.pkg, f.comment, want)
		}
	}
	for pkg, comment := range comments {
		if comment == "" {
			t.Errorf("%s has no package comment: say in one file what it is for", pkg)
		}
	}
}

func TestLayout(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		made := e.Name() == "bin" || e.Name() == "state"
		if e.IsDir() && !made && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(folders, e.Name()) {
			t.Errorf("the top-level folder %s is not in the layout: move it into one of %s, or give its reason in ARCHITECTURE.md and add it here",
				e.Name(), strings.Join(folders, ", "))
		}
	}
}

// TestParse holds that the tests above see what there is to see.
func TestParse(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "edge", "lean")
	source := "//go:build never\n\n// Package lean is lean.\npackage lean\n\nimport (\n\t\"fmt\"\n\tx \"weir/shield\"\n\t_ \"weir\"\n\t\"weirdo/geo\"\n)\n"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "lean.go")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := parse(top, path)
	if err != nil {
		t.Fatal(err)
	}
	if f.pkg != "edge/lean" || f.name != "lean" || f.comment != "Package lean is lean.\n" || len(f.imports) != 2 {
		t.Fatalf("%+v", f)
	}
	if head := f.imports[0]; head.to != "shield" || head.where.Filename != "edge/lean/lean.go" || head.where.Line != 8 {
		t.Errorf("%+v", head)
	}
	if f.imports[1].to != "." {
		t.Errorf("%+v", f.imports[1])
	}
	if wrong := arrow(f.pkg, f.imports[0].to); !strings.Contains(wrong, "edge/lean -> shield") || !strings.Contains(wrong, "no arrows among edge, shield") {
		t.Errorf("the text does not name arrow and rule: %s", wrong)
	}
}
