ARG RUST_IMAGE=rust:1-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /build
# All at once: a layer of dependencies alone needs stand-ins for every target of the manifest, and one that is not
# rebuilt ships as an agent that does nothing and passes its health check.
COPY . .
RUN tests/setup.sh train \
    && agent="$(deploy/build.sh)" \
    && mkdir -p /image/bin \
    && cp "$agent" /image/bin/ \
    # `docker exec … cat /app/data/_auth.key` is documented; under this name the agent is that program.
    && ln -s docker-ps-agent /image/bin/cat

FROM scratch
LABEL docker.ps-agent="true" \
      org.opencontainers.image.title="docker.ps-agent" \
      org.opencontainers.image.description="A Docker host's containers, logs and images over authenticated HTTP" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image/ /
WORKDIR /app
ENV NODE_ENV=production
EXPOSE 3000
VOLUME /app/data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/bin/docker-ps-agent", "health"]
ENTRYPOINT ["/bin/docker-ps-agent"]
