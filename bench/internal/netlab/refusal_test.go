package netlab

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

func TestExplainNamespace(t *testing.T) {
	type files = map[string]string
	seccomp := files{"self/status": "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"}
	const none, mapsRoot, makesLabs = "", "setfcap", "setfcap sys_admin net_admin"
	for _, test := range []struct {
		name  string
		err   error
		files files
		root  bool
		holds string
		why   string // a substring of the reason
		hint  string // a substring of the hint
	}{
		{"limit of user namespaces", unix.ENOSPC,
			files{"sys/user/max_user_namespaces": "0\n"}, false, none,
			"user.max_user_namespaces=0", "raise"},
		{"limit of network namespaces", unix.ENOSPC,
			files{"sys/user/max_user_namespaces": "9", "sys/user/max_net_namespaces": "0"},
			false, none,
			"user.max_net_namespaces=0", "raise"},
		{"nested", unix.EUSERS, nil, false, none, "too deeply", "user.max_*_namespaces"},
		{"AppArmor", unix.EPERM,
			files{"sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, false, none,
			"kernel.apparmor_restrict_unprivileged_userns=1", "AppArmor profile"},
		{"AppArmor, not restricting", unix.EPERM,
			files{"sys/kernel/apparmor_restrict_unprivileged_userns": "0\n"}, false, none,
			"security module", "root"},
		{"Debian", unix.EPERM, files{"sys/kernel/unprivileged_userns_clone": "0\n"}, false, none,
			"kernel.unprivileged_userns_clone=0", "to 1"},
		{"container", unix.EPERM, seccomp, false, none,
			"seccomp", "--security-opt seccomp=unconfined"},
		{"container, as root", unix.EPERM, seccomp, true, mapsRoot,
			"seccomp", "add --cap-add SYS_ADMIN"},
		{"container, every capability dropped", unix.EPERM, seccomp, true, none,
			"CAP_SETFCAP", "add --cap-add SYS_ADMIN"},
		{"container, as root of labs", unix.EPERM, seccomp, true, makesLabs,
			"seccomp", "does not need a user namespace"},
		{"no filter", unix.EPERM, files{"self/status": "Seccomp:\t0\n"}, false, none,
			"chroot", "root"},
		{"not built in", unix.EINVAL, nil, false, none, "built without", "root"},
		{"wrapped", &fs.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: unix.ENOSPC},
			files{"sys/user/max_user_namespaces": "0"}, false, none,
			"user.max_user_namespaces=0", "raise"},
		{"something else", unix.ENOMEM, nil, false, none, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			proc := fstest.MapFS{}
			for path, text := range test.files {
				proc[path] = &fstest.MapFile{Data: []byte(text)}
			}
			holds := func(capabilities ...int) bool {
				for _, c := range capabilities {
					if !strings.Contains(test.holds, capabilityNames[c]) {
						return false
					}
				}
				return true
			}
			got := explainNamespace(test.err, caller{proc, test.root, holds})
			if !strings.Contains(got.Why, test.why) || !strings.Contains(got.Hint, test.hint) {
				t.Errorf("reason %q, hint %q, want %q and %q in them",
					got.Why, got.Hint, test.why, test.hint)
			}
			if got.Err != test.err || (test.why == "") != (got.Why == "") {
				t.Errorf("%+v: want %v, and a reason only if one is known", got, test.err)
			}
		})
	}
}

var capabilityNames = map[int]string{
	unix.CAP_SETFCAP: "setfcap", unix.CAP_SYS_ADMIN: "sys_admin", unix.CAP_NET_ADMIN: "net_admin",
}

func TestRefusal(t *testing.T) {
	for _, test := range []struct{ why, hint, want string }{
		{"", "", "operation not permitted"},
		{"a filter", "", "operation not permitted: a filter"},
		{"", "run it so", "operation not permitted; run it so"},
		{"a filter", "run it so", "operation not permitted: a filter; run it so"},
	} {
		if got := (&Refusal{unix.EPERM, test.why, test.hint}).Error(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestForbiddingSetting(t *testing.T) {
	const name = "kernel.apparmor_restrict_unprivileged_userns"
	restricted := fstest.MapFS{
		"sys/" + strings.ReplaceAll(name, ".", "/"): {Data: []byte("1\n")},
	}
	if got, forbids := forbiddingSetting(restricted); !forbids || got.String() != name+"=1" {
		t.Errorf("restricted: %v, %v", got, forbids)
	}
	if got, forbids := forbiddingSetting(fstest.MapFS{}); forbids {
		t.Errorf("unrestricted: %v", got)
	}
}
