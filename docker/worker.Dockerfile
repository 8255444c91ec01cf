# A worker on the CPU.
#   docker build -f docker/worker.Dockerfile -t findery-worker .
# By tag, or pinned by digest: --build-arg NODE_IMAGE=node:22-bookworm-slim@sha256:... (README.md)
ARG NODE_IMAGE=node:22-bookworm-slim
FROM ${NODE_IMAGE}

WORKDIR /app
ENV NODE_ENV=production \
    PATH=/app/node_modules/.bin:$PATH \
    FINDERY_DATA=/data

COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && npm cache clean --force
COPY bin ./bin
COPY models ./models
COPY src ./src
COPY workers ./workers

RUN mkdir -p /data && chown 1000:1000 /data
USER 1000:1000
VOLUME ["/data"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=300s --retries=4 CMD ["node", "--disable-warning=ExperimentalWarning", "src/cli/healthcheck.ts", "worker"]
CMD ["node", "--disable-warning=ExperimentalWarning", "src/cli/worker.ts"]
