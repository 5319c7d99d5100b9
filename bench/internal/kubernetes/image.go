package kubernetes

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"reuseport-bench/servers/sys"
)

const (
	// imageName is the image of this program, and pauseImage the image of each sandbox.
	imageName  = "localhost/reuseport-bench:this"
	pauseImage = "localhost/reuseport-bench-pause:this"

	programInImage = "/reuseport-bench"
)

// writeImage makes an archive, as 'docker save' does, with two images that consist of one program:
// the program alone, and the program in the role of a sandbox's first process. The archive is in
// memory. The caller closes the file.
func writeImage(program, pauseRole string) (_ *os.File, err error) {
	text, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("image of this program: %w", err)
	}
	if err := checkStatic(text); err != nil {
		return nil, fmt.Errorf("image of %s: %w", program, err)
	}
	var layer bytes.Buffer
	if err := writeTar(&layer, tarFile{programInImage[1:], text}); err != nil {
		return nil, fmt.Errorf("image of %s: %w", program, err)
	}
	sum := sha256.Sum256(layer.Bytes())
	digest := "sha256:" + hex.EncodeToString(sum[:])
	config := func(entrypoint ...string) []byte {
		return []byte(encode(object{
			"architecture": runtime.GOARCH, "os": "linux",
			"config": object{"Entrypoint": entrypoint},
			"rootfs": object{"type": "layers", "diff_ids": []string{digest}},
		}))
	}
	image := func(config, name string) string {
		return encode(object{
			"Config": config, "RepoTags": []string{name}, "Layers": []string{"layer.tar"},
		})
	}
	f, err := sys.MemoryFile("reuseport-bench-image", "")
	if err != nil {
		return nil, err
	}
	err = writeTar(f,
		tarFile{"manifest.json", []byte(
			"[" + image("program.json", imageName) + "," + image("pause.json", pauseImage) + "]")},
		tarFile{"program.json", config(programInImage)},
		tarFile{"pause.json", config(programInImage, pauseRole)},
		tarFile{"layer.tar", layer.Bytes()})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("image of %s: %w", program, err)
	}
	return f, nil
}

// checkStatic returns an error if a program needs a dynamic linker, which its image does not have.
func checkStatic(program []byte) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return err
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it needs shared libraries, which a pod does not have; build it " +
				"with 'make build', which sets CGO_ENABLED=0")
		}
	}
	return nil
}

type tarFile struct {
	name string
	text []byte
}

func writeTar(w io.Writer, files ...tarFile) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.text))}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.text); err != nil {
			return err
		}
	}
	return t.Close()
}
