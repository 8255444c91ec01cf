# A worker on one NVIDIA GPU. The host needs a driver for CUDA 12.8 (570 or newer) and the NVIDIA Container Toolkit.
#   docker build -f docker/worker-cuda.Dockerfile -t findery-worker-cuda .
FROM node:22-bookworm-slim AS build

WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && npm cache clean --force
# The npm package of ONNX Runtime does not contain the CUDA libraries, which are too large for the registry. Its script
# downloads those of its version (script/install-metadata.js): Microsoft.ML.OnnxRuntime.Gpu.Linux on nuget.org, built
# for CUDA 12 and cuDNN 9.
RUN node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12
COPY bin ./bin
COPY models ./models
COPY src ./src
COPY workers ./workers

FROM nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04

WORKDIR /app
# node_modules contains Node itself, in the pinned version.
ENV NODE_ENV=production \
    PATH=/app/node_modules/.bin:$PATH \
    FINDERY_DATA=/data \
    FINDERY_PROVIDERS=cuda
COPY --from=build /app ./

RUN mkdir -p /data && chown 1000:1000 /data
USER 1000:1000
VOLUME ["/data"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=600s --retries=4 CMD ["node", "--disable-warning=ExperimentalWarning", "src/cli/healthcheck.ts", "worker"]
CMD ["node", "--disable-warning=ExperimentalWarning", "src/cli/worker.ts"]
