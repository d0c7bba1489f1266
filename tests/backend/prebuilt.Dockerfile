# The backend where the image with the compiler can't be fetched: a program that `cargo xtask images` has built on Debian 12,
# or on a Linux with an older C library.
FROM debian:bookworm-slim
COPY target/docker/portcullis-backend /usr/local/bin/
USER 65534:65534
ENTRYPOINT ["portcullis-backend"]
HEALTHCHECK --interval=2s --timeout=3s --start-period=30s --retries=5 CMD ["portcullis-backend", "health"]
