"""The first image: one request, answered with JSON. Writes first-image.png.

Run: python3 examples/first_image.py
"""

import base64
import json
import os
import urllib.error
import urllib.request

URL = os.environ.get("FINDERY_URL", "http://127.0.0.1:8080")
headers = {"Content-Type": "application/json"}
if "FINDERY_KEY" in os.environ:
    headers["Authorization"] = f"Bearer {os.environ['FINDERY_KEY']}"
body = {
    "prompt": os.environ.get("PROMPT", "a green dog on the grass"),
    "budget": {"images": int(os.environ.get("BUDGET", "40"))},
    "response_format": "b64_json",
}

request = urllib.request.Request(f"{URL}/v1/images", json.dumps(body).encode(), headers)
try:
    with urllib.request.urlopen(request) as response:
        # 202: the search takes longer than the request waits.
        if response.status != 200:
            raise SystemExit(f"still at work: {response.headers['Location']}")
        answer = json.load(response)
except urllib.error.HTTPError as error:
    raise SystemExit(f"{error.code}: {json.load(error)['detail']}") from None

[image] = answer["data"]
with open("first-image.png", "wb") as file:
    file.write(base64.b64decode(image["b64_json"]))
print(f"first-image.png, reward {image['reward']:.2f}, drawn from {answer['policy']}")
