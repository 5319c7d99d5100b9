package doctor

import "os/exec"

// FindCommand looks for a program on PATH. If the program is missing, the result's Detail and Hint
// say how to install it.
func FindCommand(program string) Result {
	_, err := exec.LookPath("apt-get")
	return findCommand(program, err == nil)
}

// findCommand looks for one program. apt reports whether this machine installs packages with apt.
func findCommand(name string, apt bool) Result {
	if path, err := exec.LookPath(name); err == nil {
		return yes("%s", path)
	}
	debian, known := debianPackages[name]
	hint := "install it, or give its path"
	switch {
	case known && apt:
		hint = "apt install " + debian
	case known:
		hint = "Debian's package is " + debian
	}
	detail := hint
	if known {
		detail = "install it: " + hint
	}
	return no("not found in PATH; "+detail, hint)
}

// debianPackages maps programs to the Debian 12 packages that contain them.
var debianPackages = map[string]string{
	"apache2":                 "apache2",
	"apache2ctl":              "apache2",
	"caddy":                   "caddy",
	"curl":                    "curl",
	"gunicorn":                "gunicorn",
	"h2o":                     "h2o",
	"haproxy":                 "haproxy",
	"hypercorn":               "python3-hypercorn",
	"java":                    "default-jre-headless",
	"lighttpd":                "lighttpd",
	"mariadbd":                "mariadb-server",
	"memcached":               "memcached",
	"nginx":                   "nginx-light",
	"node":                    "nodejs",
	"passenger":               "passenger",
	"perl":                    "perl",
	"php":                     "php-cli",
	"php-fpm":                 "php-fpm",
	"php-fpm8.2":              "php8.2-fpm",
	"plackup":                 "libplack-perl",
	"puma":                    "puma",
	"python3":                 "python3",
	"redis-server":            "redis-server",
	"ruby":                    "ruby",
	"socat":                   "socat",
	"starman":                 "starman",
	"start_server":            "libserver-starter-perl",
	"systemd-socket-activate": "systemd",
	"unicorn":                 "unicorn",
	"uvicorn":                 "uvicorn",
	"uwsgi":                   "uwsgi-core",
	"varnishd":                "varnish",
}
