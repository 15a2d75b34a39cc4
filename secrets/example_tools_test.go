package secrets_test

import (
	"context"
	"fmt"
	"log"
	"net/url"
	"os"
	"strings"
	"testing/fstest"

	"github.com/inovy/hardening/secrets"
)

type portal struct {
	Session *secrets.Ring  `secret:"SESSION_KEY,kind=key,maxage=90d"`
	Mail    secrets.Secret `secret:"MAIL_PASSWORD,kind=password"`
	Region  string         `secret:"AWS_REGION,public,default=eu-west-1"`
}

func ExampleExample() {
	if err := secrets.Example(os.Stdout, (*portal)(nil)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// # The settings of this service, written by secrets.Example. For development, copy
	// # this file to .env and fill in what is empty. The values here are placeholders,
	// # which are refused outside Development. Never put a true secret in this file.
	//
	// # kind: required key ring, at least 256 bits each, renewed within 90d
	// # generate: openssl rand -base64 32; to rotate, put the new one in front: v2@2026-11-01:NEW,v1@2026-08-01:OLD
	// SESSION_KEY=
	//
	// # kind: required password, at least 15 bytes, renewed within 90d
	// # generate: openssl rand -base64 24
	// MAIL_PASSWORD=changeme-changeme
	//
	// # kind: defaulted public string
	// AWS_REGION=eu-west-1
}

func ExampleCheckExample() {
	file := strings.NewReader("# kind: defaulted public string\nAWS_REGION=eu-west-1\nMAIL_USER=care\n")
	drift, err := secrets.CheckExample(file, (*portal)(nil))
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range drift {
		fmt.Println(d.Kind, d.Name)
	}
	// Output:
	// missing SESSION_KEY
	// missing MAIL_PASSWORD
	// extra MAIL_USER
}

func ExampleCheckURL() {
	u, err := url.Parse("https://care:q7Wz-9fKx-3Lm8@api.example/v1?access_token=" + strings.Repeat("Zk7q", 5))
	if err != nil {
		log.Fatal("not a URL") // err holds it, password and all
	}
	fmt.Println(secrets.CheckURL(u))
	// Output:
	// secrets: the userinfo of a URL holds a credential: password
	// secrets: the query of a URL holds a credential: parameter token
}

func ExampleScan() {
	repository := fstest.MapFS{"config/app.yaml": {Data: []byte("redis:\n  password: q7Wz9fKx3Lm8Tn2Vb\n")}} // or os.DirFS(".")
	report, err := secrets.Scan(context.Background(), repository, secrets.ScanOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, leak := range report.Leaks {
		fmt.Println(leak)
	}
	// Output: config/app.yaml:2:13 assignment (17 bytes)
}
