import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AllowedTargets } from '../../src/config/allowed-targets.ts';
import type { Resolve } from '../../src/webhooks/resolve-target.ts';
import { parseRetryAfter, send } from '../../src/webhooks/send.ts';
import { resolveTo } from '../support/resolve-to.ts';

describe('send', () => {
  let server: Server;
  let port: number;
  let paths: string[];
  let lastHeaders: NodeJS.Dict<string | string[]> = {};
  beforeAll(async () => {
    paths = [];
    server = createServer((request, response) => {
      paths.push(request.url ?? '');
      lastHeaders = request.headers;
      if (request.url === '/silent') return;
      if (request.url === '/slow-body') return void response.writeHead(200).write('x');
      if (request.url === '/flood') {
        response.writeHead(200);
        const flood = () => response.write('x'.repeat(65_536), (error) => (error ? undefined : flood()));
        return flood();
      }
      const later = new Date(Date.now() + 3_600_000).toUTCString();
      if (request.url === '/later') return void response.writeHead(503, { 'retry-after': later }).end();
      response.writeHead(200).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const options = {
    allowed: new AllowedTargets(['hooks.test', '127.0.0.1']),
    resolve: resolveTo('127.0.0.1'),
    timeoutMs: 3000,
  };

  it.each([
    ['120', 120],
    ['Sat, 28 Nov 2026 10:02:00 GMT', 120],
    ['Saturday, 28-Nov-26 10:00:01 GMT', 1],
    ['Sat, 28 Nov 2026 09:00:00 GMT', null],
    ['0', null],
    ['soon', null],
    ['1.5', null],
    [undefined, null],
  ])('reads the Retry-After %s, in seconds or as a date', (header, seconds) => {
    expect(parseRetryAfter(header, Date.UTC(2026, 10, 28, 10))).toBe(seconds);
  });

  it('returns the Retry-After of an answer that is a date', async () => {
    const { retryAfter } = await send(`http://127.0.0.1:${port}/later`, '{}', {}, options);
    expect(retryAfter).toBeGreaterThan(3000);
  });

  it('connects to the checked address, although the host resolves to another one later', async () => {
    let lookups = 0;
    // Only the first answer is allowed, so a second lookup between check and connection fails.
    const rebinding: Resolve = async () => [
      { address: lookups++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 },
    ];
    const allowed = new AllowedTargets(['127.0.0.1']);
    const url = `https://rebinding.test:${port}/`;
    // https:// to a server without TLS: the connection is made, and the handshake fails.
    expect((await send(url, '{}', {}, { ...options, allowed, resolve: rebinding })).error).toMatch(
      /no connection: /,
    );
    expect(lookups).toBe(1);
    // The same with http:// to a host that is allowed by name.
    lookups = 0;
    const sent = await send(
      `http://hooks.test:${port}/rebound`,
      '{}',
      {},
      { ...options, resolve: rebinding },
    );
    expect(sent).toEqual({ status: 200, error: null, retryAfter: null });
    expect([lookups, paths.at(-1), lastHeaders.host]).toEqual([1, '/rebound', `hooks.test:${port}`]);
    // The host now resolves to a forbidden address, so no connection is made.
    const before = paths.length;
    const refused = await send(url, '{}', {}, { ...options, allowed, resolve: rebinding });
    expect(refused.error).toMatch(/rebinding\.test has the address 127\.0\.0\.2/);
    expect(paths.length).toBe(before);
  });

  it('ends after its timeout, and does not wait for the body of the answer', async () => {
    const began = performance.now();
    const silent = await send(`http://127.0.0.1:${port}/silent`, '{}', {}, { ...options, timeoutMs: 300 });
    expect(silent).toEqual({ status: null, error: 'no answer within 0.3 seconds', retryAfter: null });
    for (const path of ['/slow-body', '/flood'])
      expect(await send(`http://127.0.0.1:${port}${path}`, '{}', {}, options)).toMatchObject({
        status: 200,
        error: null,
      });
    const neverResolves: Resolve = () => new Promise(() => {});
    const stuck = await send(
      'https://a.test/',
      '{}',
      {},
      { ...options, resolve: neverResolves, timeoutMs: 300 },
    );
    expect(stuck.error).toMatch(/no answer within/);
    expect(performance.now() - began).toBeLessThan(5000);
  });

  it('sends nothing to a server without the certificate of the host', async () => {
    const fixture = (name: string) => readFile(new URL(`../fixtures/tls/${name}`, import.meta.url));
    const names: (string | false)[] = [];
    let requests = 0;
    const tls = createTlsServer(
      { key: await fixture('key.pem'), cert: await fixture('cert.pem') },
      (_, response) => {
        requests++;
        response.end();
      },
    );
    tls.on('connection', (socket) => socket.on('error', () => {}));
    await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
    tls.addContext('hooks.test', { key: await fixture('key.pem'), cert: await fixture('cert.pem') });
    tls.on('tlsClientError', (_error, socket) => names.push(socket.servername ?? false));
    const url = `https://hooks.test:${(tls.address() as AddressInfo).port}/`;
    expect((await send(url, '{}', {}, options)).error).toBe('no connection: DEPTH_ZERO_SELF_SIGNED_CERT');
    expect(requests).toBe(0);
    // The server is asked for the host's certificate, although the connection goes to an address.
    await expect.poll(() => names).toEqual(['hooks.test']);
    tls.closeAllConnections();
    await new Promise((resolve) => tls.close(resolve));
  });

  it('reports why there was no answer', async () => {
    const noName: Resolve = async () => {
      throw Object.assign(new Error('getaddrinfo ENOTFOUND a.test'), { code: 'ENOTFOUND' });
    };
    expect((await send('https://a.test/', '{}', {}, { ...options, resolve: noName })).error).toBe(
      'no connection: ENOTFOUND',
    );
    expect((await send('http://127.0.0.1:9/', '{}', {}, options)).error).toBe('no connection: ECONNREFUSED');
  });
});
