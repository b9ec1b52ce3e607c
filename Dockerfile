# Container image of postern: the static binary and the public CA certificates, which
# POSTERN_BACKEND_TLS needs.
#
#   docker build -t postern .
#   docker run --env-file postern.env -v /etc/postern:/etc/postern:ro \
#       -v postern:/var/lib/postern \
#       -p 143:143 -p 993:993 -p 110:110 -p 995:995 --stop-timeout 330 postern
#
# With Podman: podman build --format docker -t postern . (OCI images have no health check).
# Examples: deploy/compose, deploy/kubernetes.
#
# - Ports below 1024: Docker and containerd allow every user of a container to bind
#   them (net.ipv4.ip_unprivileged_port_start=0). Elsewhere set this sysctl, or
#   listen on other ports.
# - Client addresses: a userland proxy or NAT in front hides them. Use --network host,
#   or a load balancer that sends PROXY headers (POSTERN_PROXY_FROM).
# - Shutdown: the stop timeout must be longer than POSTERN_DRAIN (5m).
# - Certificates: user 65532 must be able to read the files. Mount their directory,
#   not the files, or postern does not see renewals.
# - State: /var/lib/postern, the default of POSTERN_STATE_DIR here, must be a volume
#   that user 65532 can write to, of each container's own.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# Includes .git, so that `postern version` prints the commit.
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /postern ./cmd/postern
# A new volume gets the owner of the directory that it is mounted on.
RUN mkdir /state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /postern /postern
COPY --from=build --chown=65532:65532 /state /var/lib/postern
USER 65532:65532
EXPOSE 143 993 110 995 4190
HEALTHCHECK --interval=10s --timeout=6s --start-period=15s CMD ["/postern", "health"]
ENTRYPOINT ["/postern"]
CMD ["serve"]
