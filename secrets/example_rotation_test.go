package secrets_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/inovy/hardening/secrets"
)

// A user and its password are replaced while the service runs: nothing restarts.
func ExampleLoader_Subscribe() {
	dir := exampleMount()
	defer os.RemoveAll(dir)
	var cfg struct {
		User     *secrets.Live `secret:"DB_USER,kind=token,minlen=8"`
		Password *secrets.Live `secret:"DB_PASSWORD,kind=password"`
	}
	exampleWrite(dir, "DB_USER", "care-app-1")
	exampleWrite(dir, "DB_PASSWORD", "q7Wz9fKx3Lm8Tn2Vb")
	loader, err := secrets.Load(context.Background(), &cfg, secrets.Options{Sources: []secrets.Source{secrets.Dir(dir)}, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer loader.Close()

	done := make(chan struct{})
	loader.Subscribe(func(c secrets.Change) { // once for both
		pair := secrets.Together(cfg.User, cfg.Password)
		fmt.Println(c.Names, len(secrets.Expose(pair[0])), pair[1]) // here: open a new pool with them
		close(done)
	})

	exampleWrite(dir, "DB_USER", "care-app-02") // in a service the platform does this
	exampleWrite(dir, "DB_PASSWORD", "Vb2Tn8Lm3Kx9fWz7q")
	if err := loader.Reload(context.Background()); err != nil { // on SIGHUP; else within two PollIntervals
		log.Fatal(err)
	}
	<-done
	// Output: [DB_USER DB_PASSWORD] 11 [REDACTED]
}

// What proves an age stands beside the secret, in the ring or in a ledger.
func ExampleLoader_Report() {
	dir := exampleMount() // SESSION_KEY and DATABASE_URL, without a date
	defer os.RemoveAll(dir)
	exampleWrite(dir, "PARTNER_KEY", "tk-9fKx3Lm8Tn2Qw5Rz7Yb4")
	exampleWrite(dir, "PARTNER_KEY_CREATED_AT", "2020-01-01")

	var cfg struct {
		DB      secrets.Secret `secret:"DATABASE_URL,kind=url"`
		Partner *secrets.Live  `secret:"PARTNER_KEY,kind=token,maxage=90d"`
	}
	loader, err := secrets.Load(context.Background(), &cfg, secrets.Options{
		Sources: []secrets.Source{secrets.Dir(dir)},
		Ledger:  secrets.FileLedger(filepath.Join(dir, "ledger")), // in a service: on a volume
		Logger:  quiet,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer loader.Close()
	for _, s := range loader.Report() {
		fmt.Println(s.Name, s.State, s.Confidence, s.Proof)
	}
	// Output:
	// DATABASE_URL unproven at-least the ledger saw it then
	// PARTNER_KEY overdue exact PARTNER_KEY_CREATED_AT
}

// exampleWrite replaces a file as a mount does: whole or not at all.
func exampleWrite(dir, name, text string) {
	fresh := filepath.Join(dir, "."+name)
	if err := os.WriteFile(fresh, []byte(text), 0o400); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(fresh, filepath.Join(dir, name)); err != nil {
		log.Fatal(err)
	}
}
