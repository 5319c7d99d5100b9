#!/bin/sh
# Compares the working tree with another revision: bench-compare.sh BASE_REF [BLOCKS], for example
# bench-compare.sh main 12.
#
# It builds BASE_REF and the working tree, runs the scenarios for CI with both, alternating block by
# block, and compares the runs. The runs stay in $OUT, by default results/runs/compare-TIME; a
# relative path starts at the repository. The exit status is that of 'compare'. It is also 3 if
# BASE_REF cannot read the scenarios, and 130 when interrupted.
set -eu

usage() {
	echo "usage: bench-compare.sh BASE_REF [BLOCKS], for example bench-compare.sh main 12" >&2
	exit 2
}
[ $# -eq 1 ] || [ $# -eq 2 ] || usage
base_ref=$1
blocks=${2-12}
case $base_ref in '' | -*) usage ;; esac
case $blocks in '' | *[!0-9]* | 0*) usage ;; esac
[ "$blocks" -ge 10 ] ||
	echo "fewer than 10 blocks decide nothing; they only show that the script works" >&2
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 # as in the Makefile
go=${GO:-go}
out=${OUT:-results/runs/compare-$(date +%Y-%m-%dT%H-%M-%S)}
# Both programs must run the same files, or their runs could not be compared.
scenarios='scenarios/ci-restart.yaml scenarios/ci-steady.yaml'

tmp=$(mktemp -d)
trap 'git worktree remove --force "$tmp/tree" 2>/dev/null || true; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

git worktree add --quiet --detach "$tmp/tree" "$base_ref" || exit 2
echo "building $base_ref and the working tree" >&2
(cd "$tmp/tree" && "$go" build -o "$tmp/base" ./bench) || exit 2
"$go" build -o "$tmp/head" ./bench || exit 2

for side in base head; do
	# shellcheck disable=SC2086 # a list of files
	if ! "$tmp/$side" run --dry-run $scenarios >/dev/null 2>"$tmp/why"; then
		echo "the $side program cannot run $scenarios:" >&2
		cat "$tmp/why" >&2
		exit 3
	fi
done

# Status 1 (a gate failed) and 3 (one trial could not decide it) are no errors here: 'compare'
# judges all blocks together.
block() { # SIDE NUMBER
	status=0
	# shellcheck disable=SC2086 # a list of files
	"$tmp/$1" run $scenarios --trials 1 --seed "$2" --out "$out/$1/$2" \
		>/dev/null 2>"$out/$1/$2.log" || status=$?
	case $status in
	0 | 1 | 3) # without finished_at the program failed
		grep -q '"finished_at": *"' "$out/$1/$2/run.json" && return
		;;
	130) exit 130 ;;
	esac
	cat "$out/$1/$2.log" >&2
	echo "the $1 program did not finish block $2" >&2
	exit 2
}

mkdir -p "$out/base" "$out/head"
i=1
while [ "$i" -le "$blocks" ]; do
	order='base head'
	[ $((i % 2)) = 1 ] || order='head base'
	echo "block $i of $blocks: $order" >&2
	for side in $order; do block "$side" "$i"; done
	i=$((i + 1))
done

echo "the runs are in $out; 'reuseport-bench compare $out/base $out/head' compares them again" >&2
status=0
"$tmp/head" compare "$out/base" "$out/head" || status=$?
if [ -n "${GITHUB_STEP_SUMMARY-}" ]; then
	"$tmp/head" compare --format github "$out/base" "$out/head" \
		>>"$GITHUB_STEP_SUMMARY" 2>/dev/null || true
	"$tmp/head" compare --format annotations "$out/base" "$out/head" 2>/dev/null || true
fi
exit "$status"
