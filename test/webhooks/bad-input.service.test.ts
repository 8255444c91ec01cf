import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProblemCode } from '../../src/contract/problem.ts';
import {
  expectNothingStored,
  expectProblem,
  expectProblemText,
  PROMPT,
  startTestApi,
  type TestApi,
} from '../support/test-api.ts';

let api: TestApi;
let lookups: string[];

beforeAll(async () => {
  lookups = [];
  api = await startTestApi({ webhookAllow: ['10.1.0.0/16'] }, undefined, {
    resolveHost: async (host) => {
      lookups.push(host);
      if (host === 'inside.test') return [{ address: '192.168.0.1', family: 4 }];
      if (host === 'allowed.test') return [{ address: '10.1.0.1', family: 4 }];
      throw new Error('no such name');
    },
  });
});
afterAll(() => api.close());

const URL = 'https://hooks.test/';
const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
const LEAK = 'aVerySecretWord';

/** Invalid values of `webhook`, and the problem of each. Pointers are relative to it. */
const BAD: readonly (readonly [
  webhook: unknown,
  status: number,
  code: ProblemCode,
  pointer: string,
  says: RegExp,
])[] = [
  [{}, 400, 'bad-request', '/url', /missing/],
  [{ url: 7 }, 400, 'bad-request', '/url', /takes text: an address/],
  [{ url: '' }, 400, 'bad-request', '/url', /https:/],
  [{ url: `${URL}${LEAK.repeat(200)}` }, 400, 'bad-request', '/url', /2048/],
  [{ url: `https://user:${LEAK}@hooks.test/` }, 422, 'not-possible', '/url', /user name or a password/],
  [{ url: `ftp://user:${LEAK}@hooks.test/` }, 422, 'not-possible', '/url', /scheme "ftp:".*https/],
  [{ url: `http://hooks.test/${LEAK}` }, 422, 'not-possible', '/url', /FINDERY_WEBHOOK_ALLOW/],
  [{ url: 'https://2130706433/' }, 422, 'not-possible', '/url', /127\.0\.0\.1.*not in the public internet/],
  [{ url: 'https://[::ffff:10.0.0.1]/' }, 422, 'not-possible', '/url', /public internet/],
  [{ url: URL, secret: LEAK }, 400, 'bad-request', '/secret', /"whsec_" and 24 to 64 bytes/],
  [{ url: URL, secret: { [LEAK]: LEAK } }, 400, 'bad-request', '/secret', /takes text/],
  [{ url: URL, secret: `whsec_${LEAK}${LEAK}${LEAK}a` }, 400, 'bad-request', '/secret', /padding/],
  [{ url: URL, events: [] }, 400, 'bad-request', '/events', /has 0 entries; takes 1 to/],
  [
    { url: URL, events: ['job.started'] },
    400,
    'bad-request',
    '/events/0',
    /"job.started"; takes job.succeeded/,
  ],
  [{ url: URL, events: ['job.failed', 'job.failed'] }, 400, 'bad-request', '/events', /different/],
  [{ url: URL, method: 'GET' }, 400, 'bad-request', '/method', /not accepted; takes .*url.*|not known here/],
];

describe('an invalid webhook', () => {
  it.each(BAD)('in a job: %j', async (webhook, status, code, pointer, says) => {
    const problem = await expectProblem(
      await api.post('/v1/jobs', { prompt: PROMPT, webhook }),
      status,
      code,
    );
    expectProblemText(problem, [`/webhook${pointer}`, says]);
    expect(JSON.stringify(problem)).not.toContain(LEAK);
    await expectNothingStored(api);
  });

  it.each(BAD)('in an endpoint: %j', async (webhook, status, code, pointer, says) => {
    const problem = await expectProblem(await api.post('/v1/webhook-endpoints', webhook), status, code);
    expectProblemText(problem, [pointer, says]);
    expect(JSON.stringify(problem)).not.toContain(LEAK);
    expect(await api.store.webhooks.endpoints.count()).toBe(0);
  });

  it.each([`https://user:${LEAK}@hooks.test/`, [LEAK], null])(
    'as %j instead of an object',
    async (webhook) => {
      const response = await api.post('/v1/jobs', { prompt: PROMPT, webhook });
      const problem = await expectProblem(response, 400, 'bad-request');
      expect(JSON.stringify(problem)).not.toContain(LEAK);
      await expectNothingStored(api);
    },
  );
});

describe('the host of an endpoint', () => {
  it('is resolved at creation, and may have no address yet', async () => {
    const create = (url: string) => api.post('/v1/webhook-endpoints', { url });
    const problem = await expectProblem(await create('https://inside.test/'), 422, 'not-possible');
    expect(problem.detail).toMatch(/inside\.test has the address 192\.168\.0\.1/);
    for (const host of ['allowed.test', 'unknown.test']) {
      const response = await create(`https://${host}/`);
      expect(response.status).toBe(201);
      await api.send('DELETE', String(response.headers.get('location')));
    }
    expect(lookups.filter((host) => host !== 'hooks.test')).toEqual([
      'inside.test',
      'allowed.test',
      'unknown.test',
    ]);
  });

  it('is not resolved for a job, so that the request does not wait for a name server', async () => {
    lookups = [];
    const response = await api.post('/v1/jobs', {
      prompt: PROMPT,
      webhook: { url: 'https://inside.test/', secret: SECRET },
    });
    expect(response.status).toBe(202);
    expect(lookups).toEqual([]);
  });
});

describe('an unknown id or an invalid query', () => {
  const none = `${'0'.repeat(26)}`;
  it.each([
    ['GET', `/v1/webhook-endpoints/whe_${none}`],
    ['DELETE', `/v1/webhook-endpoints/whe_${none}`],
    ['POST', `/v1/webhook-endpoints/whe_${none}/test`],
    ['POST', `/v1/webhook-endpoints/whe_${none}/rotate-secret`],
    ['GET', `/v1/webhook-deliveries/dlv_${none}`],
    ['POST', `/v1/webhook-deliveries/dlv_${none}/redeliver`],
    ['GET', '/v1/webhook-deliveries/..%2f..%2fetc'],
    ['GET', '/v1/webhook-endpoints/*'],
  ])('%s %s', async (method, path) => {
    await expectProblem(await api.send(method, path), 404, 'not-found');
  });

  it.each(['limit=0', 'limit=101', 'status=lost', 'endpointId=x', 'after=x', 'subjectId=', 'other=1'])(
    'a list of deliveries with %s',
    async (query) => {
      await expectProblem(await api.get(`/v1/webhook-deliveries?${query}`), 400, 'bad-request');
    },
  );

  it.each([
    [{ keepSeconds: -1 }, '/keepSeconds'],
    [{ secret: LEAK }, '/secret'],
    [LEAK, ''],
  ])('a rotation with %j', async (body, pointer) => {
    const response = await api.post(`/v1/webhook-endpoints/whe_${none}/rotate-secret`, JSON.stringify(body), {
      'content-type': 'application/json',
    });
    const problem = await expectProblem(response, 400, 'bad-request');
    expect(JSON.stringify(problem)).not.toContain(LEAK);
    expect((problem.errors ?? []).map((error) => error.pointer)).toContain(pointer);
  });
});
