# postern as a container: the static binary, the authorities of the public web
# for BACKEND_TLS, and nothing else.
#
#   docker build -t postern .
#   docker run --env-file postern.env -v /etc/postern:/etc/postern:ro \
#       -e POSTERN_STATE_DIR=/var/lib/postern -v postern:/var/lib/postern \
#       -p 143:143 -p 993:993 -p 110:110 -p 995:995 --stop-timeout 330 postern
#
# The user may bind ports below 1024 because Docker and containerd open them to
# all users of a container (net.ipv4.ip_unprivileged_port_start=0); elsewhere
# set that, or listen on other ports. Clients appear under their own addresses
# only without userland proxy or NAT in front: use --network host or a load
# balancer that sends PROXY headers (POSTERN_PROXY_FROM). The stop timeout is
# longer than POSTERN_DRAIN. Certificate files must be readable by user 65532;
# mount their folder rather than the files, or renewals are not seen. What
# POSTERN_STATE_DIR names must be a volume that the user may write to.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# With .git, from which `postern version` knows what it was built from.
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /postern ./cmd/postern
# A volume takes its owner from the folder that it is mounted on.
RUN mkdir /state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /postern /postern
COPY --from=build --chown=65532:65532 /state /var/lib/postern
USER 65532:65532
EXPOSE 143 993 110 995
HEALTHCHECK --interval=10s --timeout=6s --start-period=15s CMD ["/postern", "health"]
ENTRYPOINT ["/postern"]
CMD ["serve"]
