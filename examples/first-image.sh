#!/usr/bin/env bash
# The first image: one request, answered with a PNG. Writes first-image.png.
set -euo pipefail
url=${FINDERY_URL:-http://127.0.0.1:8080}
prompt=${PROMPT:-a green dog on the grass}
key=(${FINDERY_KEY:+-H "Authorization: Bearer $FINDERY_KEY"})

# The search runs before the answer. After 60 seconds the answer is 202 and JSON instead of a picture.
status=$(curl -sS "${key[@]}" -H 'Accept: image/png' -H 'Content-Type: application/json' \
  -d "{\"prompt\": \"$prompt\", \"budget\": {\"images\": ${BUDGET:-40}}}" \
  -o first-image.png -w '%{http_code}' "$url/v1/images")
if [ "$status" != 200 ]; then
  echo "answered with $status:" >&2
  cat first-image.png >&2
  exit 1
fi
echo first-image.png
