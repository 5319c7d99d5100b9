package selector

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// permitted returns an error that names the missing capabilities, or nil if none is missing.
// Checking them before loading a program also avoids a verifier bug: see sys.MissingForBPF.
func permitted(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("needs %s; run as root: %w", strings.Join(missing, " and "), unix.EPERM)
}

// explain adds a hint to EPERM: the kernel refused although no capability is missing.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("refused by a seccomp filter or a security module, "+
			"although every capability is held: %w", err)
	}
	return err
}
