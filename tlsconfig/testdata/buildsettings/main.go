// A program whose build brings back what Go left behind. Its output is the
// audit of the configuration that the package makes by default.

//go:debug tls10server=1
//go:debug tlsmlkem=0
package main

import (
	"crypto/tls"
	"fmt"

	"github.com/inovy/hardening/tlsconfig"
)

func main() {
	for _, f := range tlsconfig.Audit(&tls.Config{}, tlsconfig.AuditOptions{}) {
		if !f.Passed {
			fmt.Println(f)
		}
	}
}
