#!/bin/sh
# Compiles eBPF programs: bpf2go.sh [BPF2GO OPTION]... NAME SOURCE. go generate runs it in the
# package's directory.
#
# It needs clang, llvm-strip and libbpf's headers. It writes NAME_bpf*.go and NAME_bpf*.o beside the
# source, or into $BPF_OUTPUT. The same clang always writes the same bytes.
set -eu
# Atomic operations that return a value need instruction set v3, and so Linux 5.12.
exec go tool bpf2go -output-dir "${BPF_OUTPUT:-.}" "$@" -- \
	-mcpu=v3 -Wall -Wextra -Werror "-I/usr/include/$(gcc -print-multiarch)"
