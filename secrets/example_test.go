package secrets_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
)

func Example() {
	dir := exampleMount() // in a service: /run/secrets, the default
	defer os.RemoveAll(dir)

	var cfg struct {
		Session *secrets.Ring  `secret:"SESSION_KEY,kind=key,bits=256,maxage=90d"`
		DB      secrets.Secret `secret:"DATABASE_URL,kind=url"`
		Region  string         `secret:"AWS_REGION,public,default=eu-west-1"`
	}
	loader, err := secrets.Load(context.Background(), &cfg, secrets.Options{Sources: []secrets.Source{secrets.Dir(dir), secrets.Env()}})
	if err != nil {
		log.Fatal(err) // every fault, none with a value
	}
	defer loader.Close()
	fmt.Printf("%v %+v %s\n", cfg.Session, cfg.DB, cfg.Region)
	// Output: [REDACTED] [REDACTED] eu-west-1
}

func ExampleLoad_faults() {
	_ = os.Setenv("EXAMPLE_KEY", "changeme")
	_ = os.Setenv("EXAMPLE_PORT", "hunter2")
	defer os.Unsetenv("EXAMPLE_KEY")
	defer os.Unsetenv("EXAMPLE_PORT")
	var cfg struct {
		Key  secrets.Secret `secret:"EXAMPLE_KEY,kind=key"`
		Port int            `secret:"EXAMPLE_PORT,public"`
	}
	_, err := secrets.Load(context.Background(), &cfg, secrets.Options{Sources: []secrets.Source{secrets.Env()}})
	for fault := range hardening.Faults(err) {
		fmt.Println(fault.Field, "-", fault.Reason)
	}
	// Output:
	// Key - EXAMPLE_KEY in the environment: holds fewer bits than it must
	// Port - EXAMPLE_PORT in the environment: is not a whole number
}

func ExampleRing_Derive() {
	key, err := secrets.Generate(32)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := secrets.NewRing(secrets.RingConfig{Keys: secrets.NewSecret(key)})
	if err != nil {
		log.Fatal(err)
	}
	keys := ring.Derive("orders/mac", 32) // seal with keys[0], open with any
	fmt.Println(len(keys), len(keys[0]), ring.Generation())
	// Output: 1 32 1
}

func ExampleSecret_Use() {
	password := secrets.NewSecret("q7Wz-9fKx-3Lm8")
	err := password.Use(func(text []byte) error { // wiped when this returns
		fmt.Println(len(text))
		return nil
	})
	fmt.Println(password, err)
	// Output:
	// 14
	// [REDACTED] <nil>
}

func exampleMount() string {
	dir, err := os.MkdirTemp("", "secrets")
	if err != nil {
		log.Fatal(err)
	}
	key, err := secrets.Generate(32)
	if err != nil {
		log.Fatal(err)
	}
	for name, text := range map[string]string{"SESSION_KEY": key, "DATABASE_URL": "postgres://care:q7Wz9fKx3Lm8@db/care"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o400); err != nil {
			log.Fatal(err)
		}
	}
	return dir
}
