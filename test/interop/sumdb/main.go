// Verifies a signed checkpoint, leaves and proofs with golang.org/x/mod/sumdb, and signs a note of its own.
//
// Reads JSON from standard input and writes JSON to standard output; exits with 1 at the first thing that
// does not verify.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type inclusion struct {
	Index int64    `json:"index"`
	Leaf  []byte   `json:"leaf"`
	Proof [][]byte `json:"proof"`
}

type consistency struct {
	Older int64    `json:"older"`
	Root  []byte   `json:"root"`
	Proof [][]byte `json:"proof"`
}

type input struct {
	Note        string        `json:"note"`
	VerifierKey string        `json:"verifierKey"`
	SignerKey   string        `json:"signerKey"`
	Inclusions  []inclusion   `json:"inclusions"`
	Consistency []consistency `json:"consistency"`
	// By "level/index".
	Tiles map[string][]byte `json:"tiles"`
}

func main() {
	log.SetFlags(0)
	var in input
	check("input", json.NewDecoder(os.Stdin).Decode(&in))
	verifier, err := note.NewVerifier(in.VerifierKey)
	check("verifier key", err)
	opened, err := note.Open([]byte(in.Note), note.VerifierList(verifier))
	check("note", err)

	lines := strings.Split(opened.Text, "\n")
	var size int64
	_, err = fmt.Sscanf(lines[1], "%d", &size)
	check("size", err)
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	check("root", err)
	root := hash(raw)

	for _, item := range in.Inclusions {
		check(fmt.Sprintf("inclusion of %d", item.Index),
			tlog.CheckRecord(hashes(item.Proof), size, root, item.Index, tlog.RecordHash(item.Leaf)))
	}
	for _, item := range in.Consistency {
		check(fmt.Sprintf("consistency with %d", item.Older),
			tlog.CheckTree(hashes(item.Proof), size, root, item.Older, hash(item.Root)))
	}
	// ReadHashes checks every tile that it reads against the tree head.
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles(in.Tiles))
	for _, item := range in.Inclusions {
		read, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, item.Index)})
		check("tile", err)
		if read[0] != tlog.RecordHash(item.Leaf) {
			log.Fatalf("tile: another hash of leaf %d", item.Index)
		}
	}

	signer, err := note.NewSigner(in.SignerKey)
	check("signer key", err)
	signed, err := note.Sign(&note.Note{Text: opened.Text}, signer)
	check("sign", err)
	check("output", json.NewEncoder(os.Stdout).Encode(map[string]string{"note": string(signed)}))
}

// tiles serves tile contents under "level/index".
type tiles map[string][]byte

func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(wanted))
	for i, tile := range wanted {
		data, ok := t[fmt.Sprintf("%d/%d", tile.L, tile.N)]
		if !ok || len(data) < tile.W*tlog.HashSize {
			return nil, fmt.Errorf("no tile %v", tile)
		}
		out[i] = data[:tile.W*tlog.HashSize]
	}
	return out, nil
}

func hash(raw []byte) (out tlog.Hash) {
	if copy(out[:], raw) != tlog.HashSize {
		log.Fatalf("hash of %d bytes", len(raw))
	}
	return out
}

func hashes(raw [][]byte) []tlog.Hash {
	out := make([]tlog.Hash, len(raw))
	for i, item := range raw {
		out[i] = hash(item)
	}
	return out
}

func check(what string, err error) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}
