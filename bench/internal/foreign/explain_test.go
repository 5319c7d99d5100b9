package foreign

import (
	"strings"
	"testing"
)

// Failures for which the user can do something have a hint.
func TestHintAt(t *testing.T) {
	const address = "127.0.0.1:8080"
	for line, want := range map[string]string{
		`nginx: [emerg] mkdir() "/var/lib/nginx/body" failed (13: Permission denied)`: "_temp_path",
		"nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)": "every other " +
			"listen directive, see docs/own-server.md#nginx-with-your-own-nginxconf",
		"nginx: [emerg] bind() to 192.0.2.1:8080 failed (99: Cannot assign)":        "listen",
		"nginx: [emerg] bind() to 127.0.0.1:8080 failed (98: Address already used)": "",
		"PermissionError: [Errno 13] Permission denied: '/srv/app.log'": "user nobody: give it a " +
			"path below /run, or another user (server.user, --user)",
		"Error: EACCES, open '/etc/x'":                       "below /run",
		"Error: listen EACCES: permission denied 0.0.0.0:80": "let it listen at HOST and PORT",
		"no such option":                                     "",
	} {
		got := hintAt([]string{"first", line, "last"}, address, "nobody")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
