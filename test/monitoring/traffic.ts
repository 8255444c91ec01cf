import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const PROMPTS = ['a green dog on the grass', 'a red book and a yellow vase', 'a black boat in the desert'];
const PAUSE_MS = 1500;

/** A receiver of webhooks that refuses every third delivery, so that some are tried again. */
async function startReceiver() {
  let requests = 0;
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(requests++ % 3 === 0 ? 503 : 204).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, close: () => void server.close() };
}

/**
 * What clients of several tenants do: jobs, samples, reads and mistakes. The service has to allow
 * webhooks to 127.0.0.1.
 */
export async function makeTraffic(
  url: string,
  keys: readonly string[],
  milliseconds: number,
): Promise<{ requests: number }> {
  let requests = 0;
  const send = async (key: string, method: string, path: string, body?: object | string) => {
    requests++;
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body ? { 'content-type': 'application/json' } : {}) },
      body: typeof body === 'object' ? JSON.stringify(body) : body,
    });
    return (await response.json().catch(() => ({}))) as { id?: string };
  };
  const receiver = await startReceiver();
  for (const key of keys) await send(key, 'POST', '/v1/webhook-endpoints', { url: receiver.url });
  const end = Date.now() + milliseconds;
  for (let turn = 0; Date.now() < end; turn++) {
    const key = keys[turn % keys.length];
    const prompt = PROMPTS[turn % PROMPTS.length];
    if (turn % 3 === 0) {
      const budget = { images: 8 + 4 * (turn % 4) };
      const { id } = await send(key, 'POST', '/v1/jobs', { prompt, seed: turn, budget, reportDraws: 4 });
      await send(key, 'GET', `/v1/jobs/${id}`);
      if (turn % 12 === 9) await send(key, 'POST', `/v1/jobs/${id}/cancel`);
    }
    if (turn % 5 === 0) await send(key, 'POST', '/v1/samples', { prompt, count: 2, seed: turn });
    await send(key, 'GET', '/v1/jobs?limit=20');
    await send(key, 'GET', '/v1/models');
    if (turn % 4 === 0) await send(key, 'GET', '/v1/jobs/job_00000000000000000000000000');
    if (turn % 7 === 0) await send(key, 'POST', '/v1/jobs', '{"prompt": 5');
    await sleep(PAUSE_MS);
  }
  receiver.close();
  return { requests };
}
