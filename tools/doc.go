// Package tools holds no code: its go.mod pins the linters, so that those who
// import the library do not inherit them.
package tools
