"""Receives webhooks and verifies their signatures (Standard Webhooks).

Run: WEBHOOK_SECRET=whsec_... python3 examples/webhook_receiver.py
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import time

# Older and newer deliveries are refused: somebody may send a recorded one again.
MAX_AGE_SECONDS = 300
secret = os.environ.get("WEBHOOK_SECRET", "")
if not secret.startswith("whsec_"):
    raise SystemExit("Set WEBHOOK_SECRET to the secret of the endpoint, whsec_...")
secret = base64.b64decode(secret[len("whsec_") :])
# Delivery is at least once: each webhook-id is handled once. A real receiver keeps them in its database.
handled = set()


def is_signed(headers, body):
    """What is signed is "id.timestamp.body", with the bytes of the body as they came."""
    event, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > MAX_AGE_SECONDS:
        return False
    digest = hmac.new(secret, f"{event}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    # While a secret is being rotated there are several signatures, separated by spaces.
    signatures = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(given.encode(), expected.encode()) for given in signatures)


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not is_signed(self.headers, body):
            self.send_response(401)
            self.end_headers()
            return
        # Answer first, within 15 seconds; longer work is done afterwards.
        self.send_response(204)
        self.end_headers()
        event = self.headers["webhook-id"]
        if event in handled:
            return
        handled.add(event)
        message = json.loads(body)
        data = message["data"]
        subject = data.get("id", data.get("endpointId"))
        print(message["timestamp"], message["type"], subject, data.get("status", ""), flush=True)

    def log_message(self, *_):
        pass


port = int(os.environ.get("PORT", "9000"))
print(f"listening on http://127.0.0.1:{port}", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
