# reuseport-bench and the programs that it calls, HAProxy and nft. docs/containers.md says how to
# run it, and which container options each feature needs.
FROM golang:1.26-trixie AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# Includes .git, from which the build takes the program's version.
COPY . .
RUN make build

FROM debian:trixie-slim
LABEL org.opencontainers.image.title="reuseport-bench" \
      org.opencontainers.image.description="One shared listening socket or one SO_REUSEPORT socket each: latency, drops, switchover gaps" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
    && apt-get install -y --no-install-recommends haproxy nftables \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/bin/reuseport-bench /usr/local/bin/
# Any user may write runs to results/runs below it.
RUN install -d -m 1777 /work
WORKDIR /work
# An ordinary user. eBPF programs and several user ids need root: docker run --user 0.
USER 1000:1000
ENTRYPOINT ["reuseport-bench"]
CMD ["--help"]
