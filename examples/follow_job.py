"""A job: queue it, follow its events, then sample its policy. Writes policy.safetensors and sample-*.png.

Run: python3 examples/follow_job.py
"""

import json
import os
import urllib.error
import urllib.request
import uuid

URL = os.environ.get("FINDERY_URL", "http://127.0.0.1:8080")


def call(path, body=None, **headers):
    """Opens a request; a body makes it a POST. `Last_Event_ID` becomes the header Last-Event-ID."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    if "FINDERY_KEY" in os.environ:
        headers["Authorization"] = f"Bearer {os.environ['FINDERY_KEY']}"
    try:
        return urllib.request.urlopen(urllib.request.Request(URL + path, data, headers))
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{error.code}: {json.load(error)['detail']}") from None


def events(job_id):
    """The job's server-sent events as (name, data). The stream ends with the event `done`."""
    fields = {}
    for line in call(f"/v1/jobs/{job_id}/events"):
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], json.loads(fields["data"])
            fields = {}


request = {
    "prompt": os.environ.get("PROMPT", "a green dog on the grass"),
    "budget": {"images": int(os.environ.get("BUDGET", "40"))},
}
# An Idempotency-Key makes it safe to send the request again when the answer is lost.
job = json.load(call("/v1/jobs", request, Idempotency_Key=str(uuid.uuid4())))
print("queued", job["id"])

for name, data in events(job["id"]):
    if name == "iteration":
        progress = data["progress"]
        print(f"image {progress['images']} of {progress['of']}, best {data['summary']['best']:.2f}")
    elif name == "done":
        job = data
if job["status"] != "succeeded":
    raise SystemExit(f"{job['status']}: {(job['error'] or {}).get('detail')}")
report = job["report"]
print(f"base {report['base']['mean']:.2f}, learned {report['learned']['mean']:.2f} on fresh noises")
print(f"gain {report['gain']['mean']:.2f} +- {report['gain']['standardError']:.2f}")

# Samples of a policy are new images, without a search. Prefer holds the answer until they are there.
sample = json.load(call(f"/v1/policies/{job['policyId']}/samples", {"count": 4}, Prefer="wait=60"))
for number, image in enumerate(sample["images"], 1):
    with open(f"sample-{number}.png", "wb") as file:
        file.write(call(image["url"]).read())
    print(f"sample-{number}.png, reward {image['reward']:.2f}")
with open("policy.safetensors", "wb") as file:
    file.write(call(f"/v1/policies/{job['policyId']}/parameters").read())
print("policy.safetensors, for examples/load_policy.py")
