# The program in a small image: not root, works with a read-only root, one volume.
#
#   docker build -t azud .
#   docker run --read-only -p 5514:5514/tcp -p 5514:5514/udp \
#     -v azud:/var/lib/azud -v ./pipelines:/etc/azud/pipelines:ro azud
#
# Documents are read from /etc/azud. A source that others shall reach listens on 0.0.0.0.

FROM rust:1.95.0-bookworm AS build
WORKDIR /build

# The dependencies, as a layer of their own: it is made anew only when a manifest changes. Empty crates
# stand in for ours.
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY client/Cargo.toml client/
COPY engine/Cargo.toml engine/
COPY event/Cargo.toml event/
COPY plan/Cargo.toml plan/
COPY secrets/Cargo.toml secrets/
COPY server/Cargo.toml server/
COPY sinks/Cargo.toml sinks/
COPY sources/Cargo.toml sources/
COPY store/Cargo.toml store/
COPY tests/Cargo.toml tests/
COPY transforms/Cargo.toml transforms/
RUN for room in client engine event plan secrets sinks sources store transforms; do \
      mkdir -p "$room/src" && touch "$room/src/lib.rs"; \
    done \
    && mkdir server/src \
    && echo 'fn main() {}' | tee server/src/main.rs > tests/main.rs \
    && cargo build --locked --profile dist --package azud

# The program. A copied file keeps its old time; without a new one cargo would take the empty crates
# for fresh.
COPY . .
RUN find . -name '*.rs' -not -path './target/*' -exec touch {} + \
    && cargo build --locked --profile dist --package azud \
    && printf 'data_dir = "/var/lib/azud"\n' > azud.toml

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/azud --shell /usr/sbin/nologin azud \
    && install --directory --owner azud --group azud --mode 0750 /var/lib/azud
COPY --from=build /build/target/dist/azud /usr/local/bin/azud
COPY --from=build /build/azud.toml /etc/azud/azud.toml
COPY --from=build /build/LICENSE /usr/share/doc/azud/LICENSE
COPY pipelines/quickstart.toml /etc/azud/pipelines/quickstart.toml

USER azud
WORKDIR /etc/azud
# Everything that is kept. Nothing else is written to.
VOLUME /var/lib/azud
# Syslog as in the quickstart, and the API.
EXPOSE 5514/tcp 5514/udp 8686/tcp
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["azud", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["azud"]
CMD ["run"]
