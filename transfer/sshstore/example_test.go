package sshstore_test

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshserver"
)

// simulationHost serves dir over SSH, and says how to log in.
func simulationHost(dir string) (c sshstore.Config, stop func()) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		log.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		log.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		log.Fatal(err)
	}
	host, err := sshserver.Start(dir, "backup", key)
	if err != nil {
		log.Fatal(err)
	}
	etc, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	keyFile, known := filepath.Join(etc, "id_ed25519"), filepath.Join(etc, "known_hosts")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(block), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(known, []byte(host.KnownHostsLine()+"\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	return sshstore.Config{Addr: host.Addr(), User: "backup", Keys: []string{keyFile}, KnownHosts: []string{known}, Agent: "none"},
		func() { host.Close(); os.RemoveAll(etc) }
}

// The days that a simulation host has.
func ExampleOpen() {
	config, stop := simulationHost("testdata/supim")
	defer stop()

	ctx := context.Background()
	s, err := sshstore.Open(ctx, config, "/2026")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for info, err := range s.List(ctx, "268") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(info.Name, info.Size)
	}
	// Output: 268/tec.dat 46
}
