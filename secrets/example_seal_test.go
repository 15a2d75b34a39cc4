package secrets_test

import (
	"fmt"
	"log"

	"github.com/inovy/hardening/secrets"
)

func exampleRing() *secrets.Ring {
	key, err := secrets.Generate(32)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := secrets.NewRing(secrets.RingConfig{Keys: secrets.NewSecret(key)})
	if err != nil {
		log.Fatal(err)
	}
	return ring
}

func ExampleRing_Seal() {
	ring := exampleRing() // in a service: a field that Load filled
	sealed, err := ring.Seal([]byte("jan@example.nl"), []byte("invite|42"))
	if err != nil {
		log.Fatal(err)
	}
	plaintext, stale, err := ring.Open(sealed, []byte("invite|42"))
	fmt.Printf("%s %v %v\n", plaintext, stale, err)
	_, _, err = ring.Open(sealed, []byte("invite|43"))
	fmt.Println(err)
	// Output:
	// jan@example.nl false <nil>
	// secrets: the sealed text does not open under this ring and additional data
}

func ExampleRing_Column() {
	tokens := exampleRing().Column("orders.refresh_token") // once, at the start

	// db.Exec("UPDATE orders SET refresh_token = $1 WHERE id = $2", cell, id)
	cell := tokens.Row("3f0e4c1e")
	cell.Secret = secrets.NewSecret("rt-9fKx3Lm8Tn2Qw5Rz7Yb4")
	stored, err := cell.Value()
	if err != nil {
		log.Fatal(err)
	}

	// db.QueryRow("SELECT refresh_token FROM orders WHERE id = $1", id).Scan(cell)
	read, swapped := tokens.Row("3f0e4c1e"), tokens.Row("77aa01bd")
	fmt.Println(read.Scan(stored), len(secrets.Expose(read.Secret)), read.Stale())
	fmt.Println(swapped.Scan(stored))
	// Output:
	// <nil> 23 false
	// secrets: the sealed text does not open under this ring and additional data
}
