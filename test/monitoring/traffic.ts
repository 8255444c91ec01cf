import { setTimeout as sleep } from 'node:timers/promises';

const PROMPTS = ['a green dog on the grass', 'a red book and a yellow vase', 'a black boat in the desert'];
const PAUSE_MS = 1500;

/** What clients of several tenants do: jobs, samples, reads and mistakes. */
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
  return { requests };
}
