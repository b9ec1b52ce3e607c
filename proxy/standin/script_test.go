package standin_test

import (
	"net"
	"os"
	"testing"

	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// The scripts in testdata log in to this account.
var scriptAccounts = []standin.Account{{
	Name: "user", Secret: "pa ss",
	Messages: [][]byte{
		[]byte("Subject: one\r\n\r\nfirst\r\n.dot\r\nlast\r\n"),
		[]byte("Subject: two\n\nx"),
		[]byte("Subject: bare\r\n"),
	},
}}

func TestScripts(t *testing.T) {
	for file, serve := range map[string]func(net.Listener, []standin.Account, standin.Options) (*standin.Server, error){
		"imap.dlg": standin.ServeIMAP, "pop3.dlg": standin.ServePOP3,
	} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		scripts, err := mailtest.ParseScripts(file, data)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server, err := serve(ln, scriptAccounts, standin.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		for _, script := range scripts {
			t.Run(script.Name, func(t *testing.T) {
				c, err := net.Dial("tcp", server.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				script.Play(t, mailtest.Endpoints{Client: c})
			})
		}
	}
}
