#!/bin/sh
# Checks what must hold before a commit: format, vet, staticcheck, go.mod. Tests check the import
# directions and the blocks of go.mod (bench/imports_test.go, bench/requirements_test.go).
set -eu
cd "$(dirname "$0")/.."

# Of scripts/kube only the format is checked: it takes minutes and gigabytes to compile.
unformatted=$(gofmt -l bench results scenarios scripts servers)
if [ -n "$unformatted" ]; then
	echo "gofmt: run 'gofmt -w' on:" >&2
	echo "$unformatted" >&2
	exit 1
fi
go vet ./...
go vet -tags kube ./bench ./bench/internal/kubernetes
go tool staticcheck ./...
go mod tidy -diff
go test ./bench -run 'TestImports|TestRequirement|TestLineWidth'
