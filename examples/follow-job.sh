#!/usr/bin/env bash
# A job: queue it, follow its events, then sample its policy. Writes rewards.png, policy.safetensors and sample-*.png.
set -euo pipefail
url=${FINDERY_URL:-http://127.0.0.1:8080}
prompt=${PROMPT:-a green dog on the grass}
key=(${FINDERY_KEY:+-H "Authorization: Bearer $FINDERY_KEY"})
call() { curl -sS --fail-with-body "${key[@]}" -H 'Content-Type: application/json' "$@"; }

# An Idempotency-Key makes it safe to send the request again when the answer is lost.
job=$(call -H "Idempotency-Key: example-$$-$RANDOM" \
  -d "{\"prompt\": \"$prompt\", \"budget\": {\"images\": ${BUDGET:-40}}}" "$url/v1/jobs" |
  grep -o 'job_[0-9a-z]\{26\}' | head -1)
echo "queued $job"

# Server-sent events. The stream ends with the job.
call -N "$url/v1/jobs/$job/events" | grep --line-buffered '^event' | uniq -c
call -o rewards.png "$url/v1/jobs/$job/rewards?format=png"

# The job's policy has the job's number. Samples of it are new images, without a search.
policy=pol_${job#job_}
images=$(call -H 'Prefer: wait=60' -d '{"count": 4}' "$url/v1/policies/$policy/samples" |
  grep -o 'img_[0-9a-z]\{26\}' | sort -u)
number=0
for image in $images; do
  number=$((number + 1))
  call -o "sample-$number.png" "$url/v1/images/$image"
  echo "sample-$number.png"
done
call -o policy.safetensors "$url/v1/policies/$policy/parameters"
echo policy.safetensors
