#!/bin/sh
# Downloads what the nodes of a real Kubernetes need besides 'make kube', and links it as
# bin/kube/deps: containerd, runc, CNI plugins, nft and iptables, with their libraries.
#
# They are packages of this Debian or Ubuntu, unpacked into the user's cache. Nothing is installed
# and no service started. Root is not needed.
set -eu
cd "$(dirname "$0")/.."
packages='containerd runc containernetworking-plugins nftables iptables'

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
	cat >&2 <<-'END'
		kube-deps: this is neither Debian nor Ubuntu. Install containerd, runc, the CNI plugins, nft and
		iptables, and link their files as
		bin/kube/deps/usr/bin/{containerd,containerd-shim-runc-v2,ctr}
		bin/kube/deps/usr/sbin/{runc,nft,iptables,iptables-save,iptables-restore}
		bin/kube/deps/usr/lib/cni/{ptp,host-local,loopback}
	END
	exit 1
fi

# The cache knows the packages by their distribution, and by this script.
hash=$({ dpkg --print-architecture && cat /etc/os-release "scripts/kube-deps.sh"; } | sha256sum |
	cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/reuseport-bench/kube/deps-$hash

# download puts the packages and the libraries that they need into the working directory. Its
# arguments are options of apt. The C library is the machine's.
download() {
	# shellcheck disable=SC2086 # a list of words
	libraries=$(apt-cache "$@" depends --recurse --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances $packages | grep '^lib' |
		grep -Ev '^(libc[0-9.]*|libcrypt[0-9]*|libgcc-s[0-9]*|libc-.*)(:.*)?$')
	# shellcheck disable=SC2086 # lists of words
	apt-get "$@" -qq -o APT::Sandbox::User=root download $packages $libraries
}

if ! [ -d "$cache" ]; then
	mkdir -p "${cache%/*}"
	tmp=$(mktemp -d "${cache%/*}/.deps-XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 130' INT TERM
	mkdir "$tmp/packages" "$tmp/lists" "$tmp/archives" "$tmp/deps"
	(
		cd "$tmp/packages"
		# If the machine's lists are missing or old, new ones are read, outside of the machine's.
		download 2>/dev/null || {
			set -- -o Dir::State::lists="$tmp/lists" -o Dir::Cache="$tmp/archives"
			apt-get "$@" -qq -o APT::Sandbox::User=root update
			download "$@"
		}
	) >&2
	for package in "$tmp"/packages/*.deb; do
		dpkg -x "$package" "$tmp/deps"
	done
	cd "$tmp/deps"
	# One directory of libraries, wherever a package puts them.
	if [ -d lib ]; then
		cp -a lib/. usr/lib/
		rm -r lib
	fi
	ln -s usr/lib lib
	if [ -d sbin ]; then
		cp -a sbin/. usr/sbin/
		rm -r sbin
	fi
	# What the package's installation would link.
	for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
		ln -sf xtables-nft-multi "usr/sbin/$name"
	done
	rm -rf etc usr/share var
	cd - >/dev/null
	# The libraries are in a directory that is named for the architecture.
	LD_LIBRARY_PATH=$(echo "$tmp"/deps/usr/lib/*-linux-*)
	export LD_LIBRARY_PATH
	for program in bin/containerd bin/ctr sbin/runc sbin/nft sbin/iptables; do
		"$tmp/deps/usr/$program" --version >/dev/null
	done
	mv "$tmp/deps" "$cache"
fi
mkdir -p bin/kube
ln -sfn "$cache" bin/kube/deps
