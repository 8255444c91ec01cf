# The HTTP API. It is stateless, so any number of containers may run. It does not contain ONNX Runtime.
#   docker build -f docker/api.Dockerfile -t findery-api .
# By tag, or pinned by digest: --build-arg NODE_IMAGE=node:22-bookworm-slim@sha256:... (README.md)
ARG NODE_IMAGE=node:22-bookworm-slim
FROM ${NODE_IMAGE}

WORKDIR /app
ENV NODE_ENV=production \
    PATH=/app/node_modules/.bin:$PATH \
    HOST=0.0.0.0 \
    PORT=8080 \
    FINDERY_DATA=/data

COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && rm -rf node_modules/onnxruntime-node && npm cache clean --force
COPY bin ./bin
COPY models ./models
COPY src ./src

RUN mkdir -p /data && chown 1000:1000 /data
USER 1000:1000
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["node", "--disable-warning=ExperimentalWarning", "src/cli/healthcheck.ts", "api"]
CMD ["node", "--disable-warning=ExperimentalWarning", "src/cli/api.ts"]
