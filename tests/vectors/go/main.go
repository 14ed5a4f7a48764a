// Checks what a TrailSeal log publishes with the packages that Go checks its module database with.
//
//	main FOLDER
//
// FOLDER holds what the log served: checkpoint, tile/…; and vkey, older (an older checkpoint). All
// hashes come from the tiles, and tlog authenticates each tile against the checkpoint's root.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// TileHeight is the one of C2SP tlog-tiles, whose paths leave it out.
const tileHeight = 8

type tiles struct{ folder string }

func (t tiles) Height() int                         { return tileHeight }
func (t tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func read(folder, name string) string {
	data, err := os.ReadFile(filepath.Join(folder, name))
	must(err)
	return string(data)
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func open(text, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	must(err)
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	must(err)
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return tree
}

func entries(folder string, size int64) [][]byte {
	var all [][]byte
	for bundle := int64(0); bundle*256 < size; bundle++ {
		name := fmt.Sprintf("tile/entries/%03d", bundle)
		if size-bundle*256 < 256 {
			name += fmt.Sprintf(".p/%d", size-bundle*256)
		}
		data := []byte(read(folder, name))
		for len(data) > 0 {
			length := int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:2+length])
			data = data[2+length:]
		}
	}
	return all
}

func main() {
	folder := os.Args[1]
	vkey := strings.TrimSpace(read(folder, "vkey"))
	tree, older := open(read(folder, "checkpoint"), vkey), open(read(folder, "older"), vkey)
	hashes := tlog.TileHashReader(tree, tiles{folder})
	root, err := tlog.TreeHash(tree.N, hashes)
	must(err)
	if root != tree.Hash {
		must(fmt.Errorf("the tiles give another root"))
	}
	all := entries(folder, tree.N)
	if int64(len(all)) != tree.N {
		must(fmt.Errorf("%d entries for %d leaves", len(all), tree.N))
	}
	for index, entry := range all {
		leaf := tlog.RecordHash(entry)
		proof, err := tlog.ProveRecord(tree.N, int64(index), hashes)
		must(err)
		must(tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), leaf))
	}
	proof, err := tlog.ProveTree(tree.N, older.N, hashes)
	must(err)
	must(tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash))
	served := read(folder, "consistency")
	if want := bytes.Join(func() (all [][]byte) {
		for _, hash := range proof {
			all = append(all, []byte(fmt.Sprintf("%x", hash[:])))
		}
		return
	}(), []byte("\n")); string(want) != served {
		must(fmt.Errorf("the consistency proof served is not Go's"))
	}
	fmt.Printf("%d entries, %d to %d\n", len(all), older.N, tree.N)
}
