# A worker on one NVIDIA GPU. The host needs the driver 580 or newer (CUDA 13) and the NVIDIA Container Toolkit.
#   docker build -f docker/worker-cuda.Dockerfile -t findery-worker-cuda .
# By tag, or pinned by digest: --build-arg NODE_IMAGE=node:22-bookworm-slim@sha256:... (README.md)
ARG NODE_IMAGE=node:22-bookworm-slim
FROM ${NODE_IMAGE} AS build

# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && npm cache clean --force
COPY bin ./bin
COPY models ./models
COPY src ./src
COPY workers ./workers
# ONNX Runtime's CUDA provider, CUDA and cuDNN, in the versions of src/cli/gpu/cuda-wheels.txt.
RUN FINDERY_GPU_LIBRARIES=/opt/findery-gpu bin/findery gpu setup

FROM ${NODE_IMAGE}

WORKDIR /app
# node_modules contains Node itself, in the pinned version. The NVIDIA_ variables are for the Container Toolkit.
ENV NODE_ENV=production \
    PATH=/app/node_modules/.bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    FINDERY_DATA=/data \
    FINDERY_GPU_LIBRARIES=/opt/findery-gpu \
    FINDERY_PROVIDERS=cuda
COPY --from=build /opt/findery-gpu /opt/findery-gpu
COPY --from=build /app ./

RUN mkdir -p /data && chown 1000:1000 /data
USER 1000:1000
VOLUME ["/data"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=600s --retries=4 CMD ["node", "--disable-warning=ExperimentalWarning", "src/cli/healthcheck.ts", "worker"]
CMD ["node", "--disable-warning=ExperimentalWarning", "src/cli/worker.ts"]
