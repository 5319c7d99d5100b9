#!/bin/sh
# Compiles selector.c, which needs clang, llvm-strip and libbpf's headers, and writes programs_bpf*.go and
# programs_bpf*.o into the directory given. The output is the same byte for byte from the same clang.
set -eu
cd "$(dirname "$0")"
# Atomic operations that return something need instruction set v3, and so Linux 5.12.
GOPACKAGE=selector exec go tool bpf2go -output-dir "$1" -type slot programs selector.c -- \
	-mcpu=v3 -Wall -Wextra -Werror "-I/usr/include/$(gcc -print-multiarch)"
