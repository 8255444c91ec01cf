import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { maxConnections } from '../../src/api/http/hardening.ts';
import type { Problem } from '../../src/contract/schemas/common.ts';
import { exchange } from '../fuzz/raw-http-client.ts';
import { expectProblem, PROMPT, queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

/** Time in which a request has to arrive in these tests. */
const REQUEST_SECONDS = 1;
/** Size of the largest policy file in these tests, in bytes. */
const IMPORT_LIMIT = 4096;

/** The beginning of a request. */
const POST = 'POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n';

let api: TestApi;
let port: number;

beforeAll(async () => {
  api = await startTestApi({ requestSeconds: REQUEST_SECONDS, importLimit: IMPORT_LIMIT });
  port = Number(new URL(api.url).port);
});
afterAll(() => api.close());

/** Sends bytes, and returns the problem that must be their only response. */
async function problemOf(
  bytes: string | AsyncIterable<Buffer>,
): Promise<Problem & { readonly closed: boolean }> {
  const { responses: answers, end } = await exchange(port, { bytes, lingerMs: 2000 });
  expect(answers.map(({ headers }) => headers.get('content-type'))).toEqual(['application/problem+json']);
  const [{ status, headers, body }] = answers;
  const problem = JSON.parse(body) as Problem;
  expect(problem).toMatchObject({ status, requestId: headers.get('x-request-id') });
  expect(headers.get('x-content-type-options')).toBe('nosniff');
  expect(end).toBe('answered');
  return { ...problem, closed: headers.get('connection') === 'close' };
}

describe('bytes that are not a valid request', () => {
  it.each([
    ['not HTTP', 'hello\r\n\r\n', 400, 'bad-request', /RFC 9112/],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'bad-request', /RFC 9112/],
    [
      'both Content-Length and chunks',
      `${POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      'bad-request',
      /RFC 9112/,
    ],
    [
      'headers that are too large',
      `GET / HTTP/1.1\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers-too-large',
      /16384/,
    ],
    [
      'an address that is too long',
      `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n\r\n`,
      431,
      'headers-too-large',
      /16384/,
    ],
    ['no Host', 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'bad-request', /0 Host/],
    [
      'two Hosts',
      'GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n',
      400,
      'bad-request',
      /2 Host/,
    ],
    [
      'an unknown Expect',
      'POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nExpect: x\r\n\r\n',
      417,
      'expectation-failed',
      /"x"/,
    ],
  ] as const)('get a problem, and the connection closes: %s', async (_name, bytes, status, code, words) => {
    const problem = await problemOf(bytes);
    expect(problem).toMatchObject({ status, code, closed: true });
    expect(problem.detail).toMatch(words);
  });

  it.each([
    ['headers', 'GET /healthz HTTP/1.1\r\nHost: a\r\n', 'X: a\r\n'],
    ['a body', `${POST}Content-Type: application/json\r\nContent-Length: 999\r\n\r\n`, ' '],
  ])('%s sent byte by byte: the request times out', async (_name, head, piece) => {
    const drip = async function* () {
      yield Buffer.from(head);
      for (;;) {
        await sleep(100);
        yield Buffer.from(piece);
      }
    };
    expect(await problemOf(drip())).toMatchObject({ status: 408, code: 'too-slow', closed: true });
  });

  it('a silent connection is closed', async () => {
    const socket = connect(port, '127.0.0.1').on('data', () => {});
    await new Promise((done) => socket.once('close', done));
  });

  it('the timeout covers the request, not the time for which its response is held', async () => {
    const response = await api.post(
      '/v1/jobs',
      { prompt: PROMPT },
      { prefer: `wait=${2 * REQUEST_SECONDS + 1}` },
    );
    expect(await readOk(response, 202)).toMatchObject({ status: 'queued' });
  });
});

describe('garbage after a request', () => {
  it('does not affect its response, and gets none that could be mistaken for it', async () => {
    const get = 'GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n';
    const { responses: answers } = await exchange(port, {
      bytes: `${get}garbage\r\n\r\n`,
      responses: 2,
      timeoutMs: 5000,
    });
    expect(answers.map(({ status }) => status)).toEqual([200]);
  });
});

describe('an unknown address', () => {
  it('is answered before the body is read', async () => {
    const head = 'Host: localhost\r\nContent-Type: text/x\r\nContent-Length: 999';
    expect(await problemOf(`POST /nothing HTTP/1.1\r\n${head}\r\n\r\n`)).toMatchObject({ status: 404 });
    expect(await problemOf(`POST /healthz HTTP/1.1\r\n${head}\r\n\r\n`)).toMatchObject({ status: 405 });
  });
});

describe('policy files', () => {
  it('of up to twice the largest size are received at once from a tenant', async () => {
    const head = [
      'POST /v1/policies HTTP/1.1',
      'Host: localhost',
      'Content-Type: application/octet-stream',
      `Content-Length: ${IMPORT_LIMIT}`,
    ].join('\r\n');
    const sockets = Array.from({ length: 2 }, () => connect(port, '127.0.0.1'));
    const gone = sockets.map(
      (socket) => new Promise((done) => socket.on('data', () => {}).once('close', done)),
    );
    for (const socket of sockets) socket.write(`${head}\r\n\r\nabc`);
    await sleep(200);
    const upload = () =>
      api.post('/v1/policies?prompt=a', new Uint8Array(IMPORT_LIMIT), {
        'content-type': 'application/octet-stream',
      });
    const refused = await upload();
    expect(refused.headers.get('retry-after')).toBe('2');
    expect((await expectProblem(refused, 429, 'rate-limited')).detail).toContain(`${2 * IMPORT_LIMIT} bytes`);
    // Broken uploads free their share.
    for (const socket of sockets.slice(1)) socket.destroy();
    await Promise.all(gone);
    await expectProblem(await upload(), 422, 'bad-policy-file');
  });
});

describe('connections', () => {
  it('are limited so that the process has the files it needs', () => {
    const limits = (soft: string) =>
      'Limit                     Soft Limit           Hard Limit\n' +
      `Max open files            ${soft}                1048576              files`;
    expect(maxConnections(limits('1024'))).toBe(824);
    expect(maxConnections(limits('300'))).toBe(150);
    expect(maxConnections(limits('unlimited'))).toBeNull();
    expect(maxConnections('')).toBeNull();
  });

  it('over the limit are refused, and open ones are served', async () => {
    // A process with a low limit of open files.
    const main = resolve(import.meta.dirname, '../../src/cli/api.ts');
    const command = `ulimit -n 300; exec ${process.execPath} --disable-warning=ExperimentalWarning ${main}`;
    const environment = {
      ...process.env,
      REDIS_URL: api.redisUrl,
      FINDERY_DATA: `${api.folder}/few`,
      PORT: '0',
    };
    const child = spawn('/bin/sh', ['-c', command], {
      env: environment,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      let log = '';
      const few = await new Promise<number>((found) => {
        child.stdout.on('data', (text) => {
          log += text;
          const [, number] = /Server listening at http:\/\/127\.0\.0\.1:(\d+)/.exec(log) ?? [];
          if (number) found(Number(number));
        });
      });
      const get =
        'GET /v1/policies/pol_00000000000000000000000000/parameters HTTP/1.1\r\nHost: localhost\r\n\r\n';
      const first = connect(few, '127.0.0.1');
      await new Promise((done) => first.once('connect', done));
      const others = Array.from({ length: 400 }, () =>
        connect(few, '127.0.0.1')
          .on('error', () => {})
          .on('data', () => {}),
      );
      await sleep(1500);
      expect(others.filter(({ destroyed }) => destroyed).length).toBeGreaterThanOrEqual(250);
      const answer = new Promise<string>((done) => first.once('data', (bytes) => done(String(bytes))));
      first.write(get);
      expect(await answer).toMatch(/^HTTP\/1\.1 404 /);
      for (const socket of [first, ...others]) socket.destroy();
      await sleep(500);
      expect((await exchange(few, { bytes: get })).responses[0]?.status).toBe(404);
      expect(log).toMatch(/connections are refused/);
      expect(log).not.toMatch(/EMFILE/);
    } finally {
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGTERM');
      await ended;
    }
  });

  it('with many requests leave no listeners behind', async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on('warning', listen);
    onTestFinished(() => void process.off('warning', listen));
    for (let i = 0; i < 20; i++) await queueJob(api);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(warnings).toEqual([]);
  });
});
