#!/bin/sh
# Records the corpus of trials that TestCorpus judges again: record-corpus.sh [NAME]... It records
# the corpus's scenarios, or the named ones, as root and as an ordinary user, and replaces the
# trials recorded before. Look at the table of
# 'go test ./bench/internal/ledger -run TestCorpus -v' before you commit them.
set -eu
cd "$(dirname "$0")/.."
corpus=bench/internal/ledger/testdata/corpus

if [ "$(id -u)" != 0 ]; then
	echo "record-corpus.sh: run it as root; it switches to an ordinary user itself" >&2
	exit 2
fi
if [ $# = 0 ]; then
	for file in "$corpus"/scenarios/*.yaml; do
		set -- "$@" "$(basename "$file" .yaml)"
	done
fi

# An ordinary user may not be able to read the tree, so work on copies.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
CGO_ENABLED=0 go build -o "$work/reuseport-bench" ./bench
cp -r "$corpus/scenarios" "$work/"
mkdir -m 777 "$work/root" "$work/user"

record() { # WHO NAME [COMMAND…]
	who=$1 name=$2
	shift 2
	status=0
	"$@" "$work/reuseport-bench" run "$work/scenarios/$name.yaml" --seed 1 --keep-facts \
		--out "$work/$who/$name" >"$work/log" 2>&1 || status=$?
	# 3: a trial was invalid, whose facts are just as useful, or a variant cannot run here.
	if [ $status != 0 ] && [ $status != 3 ]; then
		cat "$work/log" >&2
		exit $status
	fi
	mkdir -p "$corpus/$who"
	rm -f "$corpus/$who/$name"-[0-9]*.jsonl.gz
	for file in "$work/$who/$name"/facts/*-[0-9][0-9].jsonl.gz; do # omits repeats
		[ -e "$file" ] || continue # every variant was skipped
		gzip -dc "$file" | gzip -9n >"$corpus/$who/$(basename "$file")"
	done
}

for name in "$@"; do
	echo "$name" >&2
	record root "$name"
	record user "$name" setpriv --reuid 65534 --regid 65534 --clear-groups env "HOME=$work/user"
done
du -sh "$corpus"
