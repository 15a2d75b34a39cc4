package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/inovy/hardening/secrets"
)

// source is what the Go files of one folder declare.
type source struct {
	types map[string]declared // by name, also inside functions
	vars  map[string]declared // of a struct type without a name
	notes []string
}

type declared struct {
	expr    ast.Expr
	imports map[string]string // local name to path
}

// readSource parses the Go files of a folder, without the tests.
func readSource(dir string) (*source, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &source{types: map[string]declared{}, vars: map[string]declared{}}
	files := 0
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files++
		s.collect(file)
	}
	if files == 0 {
		return nil, fmt.Errorf("no Go files in %s", printable(dir))
	}
	return s, nil
}

func (s *source) collect(file *ast.File) {
	imports := map[string]string{}
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser let it pass; nothing can refer to it
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = path
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch spec := n.(type) {
		case *ast.TypeSpec:
			s.types[spec.Name.Name] = declared{spec.Type, imports}
		case *ast.ValueSpec:
			if _, ok := spec.Type.(*ast.StructType); ok && len(spec.Names) > 0 {
				s.vars[spec.Names[0].Name] = declared{spec.Type, imports}
			}
		}
		return true
	})
}

// choose returns the struct of that name, or the only one with secret tags
// that is no part of another.
func (s *source) choose(name string) (reflect.Type, error) {
	found := map[string]reflect.Type{}
	used := map[string]bool{}
	for _, all := range []map[string]declared{s.types, s.vars} {
		for _, n := range slices.Sorted(maps.Keys(all)) {
			d := all[n]
			if _, ok := d.expr.(*ast.StructType); !ok || name != "" && n != name {
				continue
			}
			b := builder{source: s, imports: d.imports, used: map[string]bool{}, inside: []string{n}}
			t := b.typeOf(d.expr, n)
			if hasTags(d.expr) || b.tagged {
				found[n] = t
				maps.Copy(used, b.used)
				s.notes = append(s.notes, b.notes...)
			}
		}
	}
	maps.DeleteFunc(found, func(n string, _ reflect.Type) bool { return name == "" && used[n] })
	switch names := slices.Sorted(maps.Keys(found)); {
	case len(names) == 1:
		return found[names[0]], nil
	case len(names) > 1:
		return nil, fmt.Errorf("there are several structs with secret tags: %s; choose one with -type", strings.Join(names, ", "))
	case name != "":
		return nil, fmt.Errorf("there is no struct %q with secret tags", name)
	}
	return nil, errors.New("there is no struct with secret tags")
}

func hasTags(expr ast.Expr) bool {
	st, ok := expr.(*ast.StructType)
	return ok && slices.ContainsFunc(st.Fields.List, func(f *ast.Field) bool { return secretTag(f) != "" })
}

func secretTag(f *ast.Field) string {
	return reflect.StructTag(tagOf(f)).Get("secret")
}

func tagOf(f *ast.Field) string {
	if f.Tag == nil {
		return ""
	}
	tag, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return ""
	}
	return tag
}

// builder makes a type that secrets sees as it would see the declared one.
type builder struct {
	source  *source
	imports map[string]string
	used    map[string]bool // names of struct types inside
	inside  []string        // that are being built, against endless recursion
	tagged  bool            // a struct inside has secret tags
	fields  int             // so far, against structs that hold others many times over
	notes   []string
}

// maxFields is more than any settings have, and little for a machine.
const maxFields = 4096

var basic = map[string]reflect.Type{
	"string": reflect.TypeFor[string](), "bool": reflect.TypeFor[bool](), "byte": reflect.TypeFor[byte](), "rune": reflect.TypeFor[rune](),
	"int": reflect.TypeFor[int](), "int8": reflect.TypeFor[int8](), "int16": reflect.TypeFor[int16](), "int32": reflect.TypeFor[int32](), "int64": reflect.TypeFor[int64](),
	"uint": reflect.TypeFor[uint](), "uint8": reflect.TypeFor[uint8](), "uint16": reflect.TypeFor[uint16](), "uint32": reflect.TypeFor[uint32](), "uint64": reflect.TypeFor[uint64](),
	"float32": reflect.TypeFor[float32](), "float64": reflect.TypeFor[float64](),
}

var imported = map[string]reflect.Type{
	"github.com/inovy/hardening/secrets.Secret": reflect.TypeFor[secrets.Secret](),
	"github.com/inovy/hardening/secrets.Live":   reflect.TypeFor[secrets.Live](),
	"github.com/inovy/hardening/secrets.Ring":   reflect.TypeFor[secrets.Ring](),
	"time.Duration": reflect.TypeFor[time.Duration](),
}

// other stands for types that secrets can not fill and that hold no tags.
var other = reflect.TypeFor[struct{}]()

func (b *builder) typeOf(expr ast.Expr, path string) reflect.Type {
	switch e := expr.(type) {
	case *ast.ParenExpr:
		return b.typeOf(e.X, path)
	case *ast.StarExpr:
		return reflect.PointerTo(b.typeOf(e.X, path))
	case *ast.ArrayType:
		return reflect.SliceOf(b.typeOf(e.Elt, path))
	case *ast.MapType:
		return reflect.MapOf(reflect.TypeFor[string](), b.typeOf(e.Value, path))
	case *ast.SelectorExpr:
		pkg, ok := e.X.(*ast.Ident)
		if !ok {
			return other
		}
		name := b.imports[pkg.Name] + "." + e.Sel.Name
		if t, ok := imported[name]; ok {
			return t
		}
		b.notes = append(b.notes, fmt.Sprintf("%s is of type %s.%s, which is not looked into", path, pkg.Name, e.Sel.Name))
		return other
	case *ast.Ident:
		if d, ok := b.source.types[e.Name]; ok {
			return b.named(e.Name, d, path)
		}
		if t, ok := basic[e.Name]; ok {
			return t
		}
	case *ast.StructType:
		return b.structOf(e, path)
	}
	return other
}

func (b *builder) named(name string, d declared, path string) reflect.Type {
	if slices.Contains(b.inside, name) {
		return other
	}
	_, isStruct := d.expr.(*ast.StructType)
	if isStruct {
		b.used[name] = true
		b.tagged = b.tagged || hasTags(d.expr)
	}
	imports := b.imports
	b.inside, b.imports = append(b.inside, name), d.imports
	t := b.typeOf(d.expr, path)
	b.inside, b.imports = b.inside[:len(b.inside)-1], imports
	return t
}

func (b *builder) structOf(st *ast.StructType, path string) reflect.Type {
	var fields []reflect.StructField
	seen := map[string]bool{}
	for _, f := range st.Fields.List {
		names := make([]string, 0, len(f.Names))
		for _, n := range f.Names {
			names = append(names, n.Name)
		}
		if len(f.Names) == 0 { // embedded: Load looks inside, whatever its name
			names = append(names, "Embedded"+strconv.Itoa(len(fields)))
		}
		for _, name := range names {
			sf := reflect.StructField{Name: name, Tag: reflect.StructTag(tagOf(f))}
			switch {
			case name == "_", !ast.IsExported(name) && secretTag(f) == "":
				continue
			case !ast.IsExported(name): // secrets says what is wrong with it
				sf.PkgPath = "main"
			}
			if b.fields++; b.fields == maxFields+1 {
				b.notes = append(b.notes, fmt.Sprintf("%s and what follows is not looked into: there are more than %d fields", path, maxFields))
			}
			if b.fields > maxFields {
				return other
			}
			for seen[sf.Name] { // embedded beside a field of its stand-in's name, or source that does not compile
				sf.Name += "_"
			}
			seen[sf.Name] = true
			sf.Type = b.typeOf(f.Type, path+"."+name)
			fields = append(fields, sf)
		}
	}
	return reflect.StructOf(fields)
}
