package secrets

import "regexp"

// standIn finds what other programs fill in: ${X}, $(x), {{ .X }}, {token},
// <password>, %s, a lone $NAME or %NAME%, and ***. A random password of 20 of
// the printable characters holds one of these with a probability below 1e-3.
var standIn = regexp.MustCompile(`\$\{|\$\(|\{\{|#\{|\{[A-Za-z_][A-Za-z0-9_.:+-]*\}|<[A-Za-z_][A-Za-z0-9_. :-]*>|\[[A-Za-z_][A-Za-z_ -]*\]|^%?[svdqwxXt]$|%[svdqw]([^A-Za-z0-9]|$)|%[+#]v|^\$[A-Za-z_][A-Za-z0-9_.:]*$|^%[A-Za-z_][A-Za-z0-9_]*%$|^%\([A-Za-z_]+\)s$|\*{3}|\.{3}|x{5}|X{5}`)

// standsForVariable reports whether text is, or holds, something that another
// program fills in.
func standsForVariable(text string) bool { return standIn.MatchString(text) }
