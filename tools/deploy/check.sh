#!/usr/bin/env bash
# npm run test:deploy: checks the files in docker/ with validators for Kubernetes and Dockerfiles, and runs test/docker.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PWD/.venv-deploy/bin:$PATH"
for program in kubernetes-validate checkov hadolint; do
  if ! command -v "$program" >/dev/null; then
    echo "$program is not installed. Install the programs with" >&2
    echo "  python3 -m venv .venv-deploy && .venv-deploy/bin/pip install -r tools/deploy/requirements.txt" >&2
    exit 1
  fi
done
for file in docker/kubernetes/*.yaml; do
  # kustomization.yaml is no resource. The schemas of KEDA are not known either, which is a warning.
  [[ $file == */kustomization.yaml ]] || kubernetes-validate --strict "$file"
done
hadolint docker/*.Dockerfile
checkov --config-file tools/deploy/checkov.yaml
# kubectl builds what `kubectl apply -k` applies; it asks no cluster for that.
if command -v kubectl >/dev/null; then kubectl kustomize docker/kubernetes >/dev/null && echo "kustomize: ok"; fi
npx vitest run test/docker
