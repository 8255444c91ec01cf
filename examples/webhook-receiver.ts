// Receives webhooks and verifies their signatures (Standard Webhooks).
// Run: WEBHOOK_SECRET=whsec_... node examples/webhook-receiver.ts
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';

const { WEBHOOK_SECRET = '', PORT = '9000' } = process.env;
/** Older and newer deliveries are refused: somebody may send a recorded one again. */
const MAX_AGE_SECONDS = 300;
/** Delivery is at least once, so each `webhook-id` is handled once. A real receiver stores them. */
const handled = new Set<string>();

if (!WEBHOOK_SECRET.startsWith('whsec_'))
  throw new Error('Set WEBHOOK_SECRET to the secret of the endpoint, whsec_...');
const secret = Buffer.from(WEBHOOK_SECRET.slice('whsec_'.length), 'base64');

createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    if (!isSigned(request.headers, body)) return void response.writeHead(401).end();
    // Answer first, within 15 seconds; longer work is done afterwards.
    response.writeHead(204).end();
    const id = String(request.headers['webhook-id']);
    if (handled.has(id)) return;
    handled.add(id);
    const { type, timestamp, data } = JSON.parse(body.toString());
    console.log(`${timestamp} ${type} ${data.id ?? data.endpointId} ${data.status ?? ''}`);
  });
}).listen(Number(PORT), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${PORT}`));

/** What is signed is "id.timestamp.body", with the bytes of the body as they came. */
function isSigned(headers: IncomingHttpHeaders, body: Buffer): boolean {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    String(headers[name] ?? ''),
  );
  const age = Math.abs(Date.now() / 1000 - Number(timestamp));
  if (!(age <= MAX_AGE_SECONDS)) return false;
  const expected = createHmac('sha256', secret).update(`${id}.${timestamp}.`).update(body).digest();
  // While a secret is being rotated there are several signatures, separated by spaces.
  return String(signatures)
    .split(' ')
    .map((entry) => entry.split(','))
    .some(([version, text]) => {
      const given = Buffer.from(text ?? '', 'base64');
      return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
    });
}
