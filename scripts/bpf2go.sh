#!/bin/sh
# Compiles eBPF programs: bpf2go.sh [OPTION OF BPF2GO]... NAME SOURCE. It is run by go generate, in the package's directory.
# It needs clang, llvm-strip and libbpf's headers, and writes NAME_bpf*.go and NAME_bpf*.o beside the source, or into
# $BPF_OUTPUT. The output is the same byte for byte from the same clang.
set -eu
# Atomic operations that return something need instruction set v3, and so Linux 5.12.
exec go tool bpf2go -output-dir "${BPF_OUTPUT:-.}" "$@" -- \
	-mcpu=v3 -Wall -Wextra -Werror "-I/usr/include/$(gcc -print-multiarch)"
