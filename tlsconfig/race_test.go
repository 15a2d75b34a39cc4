//go:build race

package tlsconfig_test

const raceEnabled = true
