package selector

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// permitted is nil, or an error that names the capabilities the calling thread lacks for loading
// the programs. Asking first is not only kinder: see sys.MissingForBPF.
func permitted(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("needs %s; run as root: %w", strings.Join(missing, " and "), unix.EPERM)
}

// explain adds to a refusal that it was not for want of a capability.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("refused although every capability is held, by a seccomp filter or a security module: %w", err)
	}
	return err
}
