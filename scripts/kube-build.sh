#!/bin/sh
# Builds the parts of a real Kubernetes, one program, and links it as bin/kube/kubernetes.
#
# The program stays in the user's cache, by the hash of its sources and of the versions in go.mod
# and go.sum. The first build takes four to eight minutes on two CPUs, and 3 GB in Go's caches.
set -eu
cd "$(dirname "$0")/kube"
export CGO_ENABLED=0 # as in the Makefile
go=${GO:-go}

hash=$(find . -type f ! -name '*_test.go' | LC_ALL=C sort | {
	uname -m
	xargs cat
} | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/reuseport-bench/kube/$hash
if ! [ -x "$cache/kubernetes" ]; then
	# The programs report their version from these variables, and check those of each other.
	version=$("$go" list -m -f '{{.Version}}' k8s.io/kubernetes)
	minor=${version#v*.}
	variable=k8s.io/component-base/version.git
	set -- -X "${variable}Version=$version" -X "${variable}Major=1" -X "${variable}Minor=${minor%%.*}"
	echo "building Kubernetes $version: the first time, four to eight minutes on two CPUs" >&2
	mkdir -p "$cache"
	tmp=$(mktemp "$cache/.building-XXXXXX")
	trap 'rm -f "$tmp"' EXIT
	trap 'exit 130' INT TERM
	"$go" build -trimpath -ldflags "-s -w $*" -o "$tmp" .
	chmod 755 "$tmp"
	mv "$tmp" "$cache/kubernetes"
fi
mkdir -p ../../bin/kube
ln -sfn "$cache/kubernetes" ../../bin/kube/kubernetes
