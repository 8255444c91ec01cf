import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AllowedTargets } from '../../src/config/allowed-targets.ts';
import { ConcurrencyLimiter } from '../../src/webhooks/concurrency-limiter.ts';
import { checkUrl, type Resolve, resolveTarget } from '../../src/webhooks/resolve-target.ts';
import { retryDelay } from '../../src/webhooks/retry-delays.ts';
import { makeSecret, rotate, signedHeaders, takeSecret } from '../../src/webhooks/secrets.ts';
import { send } from '../../src/webhooks/send.ts';

const nothing = new AllowedTargets();
/** A name server that says what the test wants. */
const says =
  (...addresses: string[]): Resolve =>
  async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

describe('the address of a webhook', () => {
  it.each([
    'https://example.com/hook?token=1',
    'https://EXAMPLE.com',
    'https://example.com:8443/',
    'https://93.184.216.34/',
    'https://[2606:4700::1111]/',
  ])('%s is taken', (url) => {
    expect(checkUrl(url, nothing).href).toMatch(/^https:/);
  });

  it.each([
    ['ftp://example.com/', /scheme "ftp:"/],
    ['file:///etc/passwd', /scheme/],
    ['javascript:alert(1)', /scheme/],
    ['http://example.com/', /http:\/\//],
    ['https://user:hunter2@example.com/', /user name or a password/],
    ['https://user@example.com/', /user name/],
    ['https://example.com:22/', /port 22/],
    ['https://example.com:0/', /port 0/],
    ['https://example.com:99999/', /can not be parsed/],
    ['//example.com/', /can not be parsed/],
    ['example.com', /can not be parsed/],
    ['https://', /can not be parsed/],
    ['https:\\\\example.com\\@evil.test', /backslashes/],
    ['https://exa mple.com', /spaces/],
    ['ht\ntps://example.com/', /control characters/],
    ['https://localhost/', /this machine/],
    ['https://a.LOCALHOST./', /this machine/],
    ['https://127.0.0.1/', /127\.0\.0\.1/],
    ['https://2130706433/', /127\.0\.0\.1/],
    ['https://0x7f.1/', /127\.0\.0\.1/],
    ['https://0177.0.0.1/', /127\.0\.0\.1/],
    ['https://127.1/', /127\.0\.0\.1/],
    ['https://①②⑦.0.0.1/', /127\.0\.0\.1/],
    ['https://0/', /0\.0\.0\.0/],
    ['https://10.1.2.3/', /10\.1\.2\.3/],
    ['https://172.16.0.1/', /public/],
    ['https://192.168.1.1/', /public/],
    ['https://169.254.169.254/latest/meta-data', /public/],
    ['https://100.64.0.1/', /public/],
    ['https://224.0.0.1/', /public/],
    ['https://240.0.0.1/', /public/],
    ['https://255.255.255.255/', /public/],
    ['https://198.18.0.1/', /public/],
    ['https://192.0.2.1/', /public/],
    ['https://[::1]/', /::1/],
    ['https://[::]/', /::/],
    ['https://[::ffff:127.0.0.1]/', /::ffff/],
    ['https://[::ffff:8.8.8.8]/', /::ffff/],
    ['https://[::7f00:1]/', /public/],
    ['https://[64:ff9b::7f00:1]/', /public/],
    ['https://[64:ff9b:1::1]/', /public/],
    ['https://[2002:7f00:1::]/', /public/],
    ['https://[2001::1]/', /public/],
    ['https://[fe80::1]/', /public/],
    ['https://[fc00::1]/', /public/],
    ['https://[fec0::1]/', /public/],
    ['https://[ff02::1]/', /public/],
    ['https://[2001:db8::1]/', /public/],
  ])('%s is refused with its reason', (url, reason) => {
    expect(() => checkUrl(url, nothing)).toThrow(reason);
    try {
      checkUrl(url, nothing);
    } catch (error) {
      expect((error as Error).message).not.toContain('hunter2');
      expect((error as Error).message).toMatch(/\.$/);
    }
  });

  it('is free where the operator allows it: address, network or name', async () => {
    const allowed = new AllowedTargets([
      '127.0.0.1',
      '10.0.0.0/8',
      'fd00::/8',
      'hooks.internal',
      'localhost',
    ]);
    for (const url of [
      'http://127.0.0.1:22/',
      'http://10.9.8.7/',
      'https://[fd12::1]/',
      'http://hooks.internal:81/',
      'http://LOCALHOST./',
    ])
      expect(checkUrl(url, allowed).href).toMatch(/^http/);
    expect(await resolveTarget('http://hooks.internal/', allowed, says('192.168.0.9'))).toMatchObject({
      addresses: [{ address: '192.168.0.9' }],
    });
    expect(await resolveTarget('https://other.test/', allowed, says('10.0.0.9'))).toBeTruthy();
    await expect(resolveTarget('https://other.test/', allowed, says('192.168.0.9'))).rejects.toThrow(
      /192\.168\.0\.9/,
    );
    for (const url of [
      'http://127.0.0.2/',
      'http://11.0.0.1/',
      'http://other.internal/',
      'http://x.hooks.internal/',
    ])
      expect(() => checkUrl(url, allowed)).toThrow(/FINDERY_WEBHOOK_ALLOW/);
  });

  it.each(['10.0.0.0/33', '10.0.0.0/8/8', '10.0.0.0/', 'a/b', '-x', 'http://x', 'x:80', '::1/129'])(
    'can not be allowed by "%s"',
    (entry) => {
      expect(() => new AllowedTargets([entry])).toThrow(entry);
    },
  );

  it('is refused when one of the addresses of its host is not public', async () => {
    await expect(
      resolveTarget('https://a.test/', nothing, says('93.184.216.34', '10.0.0.1')),
    ).rejects.toThrow(/a\.test has the address 10\.0\.0\.1/);
    await expect(resolveTarget('https://a.test/', nothing, says('fe80::1%eth0'))).rejects.toThrow(/public/);
    await expect(resolveTarget('https://a.test/', nothing, says())).rejects.toThrow(/no address/);
  });
});

describe('an attempt', () => {
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
    resolve: says('127.0.0.1'),
    timeout: 3000,
  };

  it('goes to the address that was checked, whatever the name says a moment later', async () => {
    let asked = 0;
    // The first answer is fine, each later one is not: who asks again between check and connection is caught.
    const rebinding: Resolve = async () => [
      { address: asked++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 },
    ];
    const allowed = new AllowedTargets(['127.0.0.1']);
    const url = `https://rebinding.test:${port}/`;
    // https:// against a server without TLS: it is reached, and understands nothing.
    expect((await send(url, '{}', {}, { ...options, allowed, resolve: rebinding })).error).toMatch(
      /no connection: /,
    );
    expect(asked).toBe(1);
    // And by name, where http:// is allowed.
    asked = 0;
    const sent = await send(
      `http://hooks.test:${port}/rebound`,
      '{}',
      {},
      { ...options, resolve: rebinding },
    );
    expect(sent).toEqual({ status: 200, error: null, retryAfter: null });
    expect([asked, paths.at(-1), lastHeaders.host]).toEqual([1, '/rebound', `hooks.test:${port}`]);
    // The name by now leads to a forbidden address: no connection is made.
    const before = paths.length;
    const refused = await send(url, '{}', {}, { ...options, allowed, resolve: rebinding });
    expect(refused.error).toMatch(/rebinding\.test has the address 127\.0\.0\.2/);
    expect(paths.length).toBe(before);
  });

  it('ends after its time, and does not wait for a body', async () => {
    const began = performance.now();
    const silent = await send(`http://127.0.0.1:${port}/silent`, '{}', {}, { ...options, timeout: 300 });
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
      { ...options, resolve: neverResolves, timeout: 300 },
    );
    expect(stuck.error).toMatch(/no answer within/);
    expect(performance.now() - began).toBeLessThan(5000);
  });

  it('tells nothing to who has not the certificate of the host', async () => {
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
    await expect.poll(() => names).toEqual(['hooks.test']); // asked for by its name, though called at an address
    tls.closeAllConnections();
    await new Promise((resolve) => tls.close(resolve));
  });

  it('says why there was no answer', async () => {
    const noName: Resolve = async () => {
      throw Object.assign(new Error('getaddrinfo ENOTFOUND a.test'), { code: 'ENOTFOUND' });
    };
    expect((await send('https://a.test/', '{}', {}, { ...options, resolve: noName })).error).toBe(
      'no connection: ENOTFOUND',
    );
    expect((await send('http://127.0.0.1:9/', '{}', {}, options)).error).toBe('no connection: ECONNREFUSED');
  });
});

describe('secrets', () => {
  it('of a client have 24 to 64 bytes, and are not quoted when they do not', () => {
    const of = (bytes: number) => `whsec_${Buffer.alloc(bytes, 7).toString('base64')}`;
    for (const bytes of [24, 32, 64]) expect(takeSecret(of(bytes), '/secret')).toBe(of(bytes));
    for (const wrong of [
      of(23),
      of(65),
      'whsec_',
      of(32).slice('whsec_'.length),
      `${of(32)}!`,
      of(25).replace(/=+$/, ''),
    ]) {
      expect(() => takeSecret(wrong, '/secret')).toThrow(/24 to 64 bytes/);
      if (wrong !== 'whsec_') expect(() => takeSecret(wrong, '/secret')).not.toThrow(wrong);
    }
    expect(takeSecret(undefined, '/secret')).not.toBe(makeSecret());
  });

  it('sign while they are valid: after rotations at most three', () => {
    const now = new Date('2026-01-01T00:00:00Z');
    let secrets = rotate([{ secret: makeSecret(), validUntil: null }], makeSecret(), 60, now);
    const count = (at: Date) =>
      signedHeaders('evt_1', '{}', secrets, at)['webhook-signature'].split(' ').length;
    expect([
      count(now),
      count(new Date(now.getTime() + 59_000)),
      count(new Date(now.getTime() + 61_000)),
    ]).toEqual([2, 2, 1]);
    for (let i = 0; i < 5; i++) secrets = rotate(secrets, makeSecret(), 60, now);
    expect(count(now)).toBe(3);
    secrets = rotate(secrets, makeSecret(), 0, now);
    expect(count(now)).toBe(1);
  });
});

describe('the pauses', () => {
  it('take about a day, grow, spread, and heed what the receiver asks for', () => {
    const pause = (attempts: number, random = 0.5, retryAfter: number | null = null) =>
      retryDelay(attempts, { first: 6, retryAfter, random }) / 1000;
    const all = Array.from({ length: 11 }, (_, i) => pause(i + 1));
    const hours = all.reduce((sum, one) => sum + one, 0) / 3600;
    expect(hours).toBeGreaterThan(22);
    expect(hours).toBeLessThan(26);
    expect(all).toEqual([...all].sort((a, b) => a - b));
    expect([pause(1, 0), pause(1, 0.999)].map(Math.round)).toEqual([5, 7]);
    expect([pause(1, 0.5, 100), pause(1, 0.5, 1e9), pause(9, 0.5, 1)]).toEqual([100, 21_600, 21_600]);
  });
});

describe('attempts under way', () => {
  const end = (leave: (() => void) | string) => typeof leave === 'function' && leave();

  it('a receiver is spared while eight of them wait for its answer, and nobody else is', async () => {
    let now = 0;
    const lanes = new ConcurrencyLimiter(() => now, 0);
    const slow = await Promise.all(Array.from({ length: 16 }, () => lanes.enter('acme', 'slow.test')));
    expect(slow).toEqual(slow.map(() => expect.any(Function)));
    now = 2001;
    for (const leave of slow.slice(0, 8)) end(leave);
    expect(await lanes.enter('acme', 'slow.test'), 'eight are slow').toBe('slow');
    expect(await lanes.enter('acme', 'other.test')).toBeTypeOf('function');
    expect(await lanes.enter('rival', 'slow.test'), 'of another tenant').toBeTypeOf('function');
    end(slow[8]);
    expect(await lanes.enter('acme', 'slow.test')).toBeTypeOf('function');
  });

  it('are at most 16 of a tenant to a host, and 32 to all', async () => {
    const lanes = new ConcurrencyLimiter(() => 0, 0);
    const enter = (count: number, host: string) =>
      Promise.all(Array.from({ length: count }, () => lanes.enter('acme', host)));
    const [a, b] = [await enter(17, 'a.test'), await enter(17, 'b.test')];
    expect([a, b].map((some) => some.filter((leave) => leave !== 'full').length)).toEqual([16, 16]);
    expect(await lanes.enter('acme', 'c.test')).toBe('full');
    expect(await lanes.enter('rival', 'a.test')).toBeTypeOf('function');
    end(a[0]);
    expect(await lanes.enter('acme', 'c.test')).toBeTypeOf('function');
  });

  it('make room for one that waits as soon as they end', async () => {
    const lanes = new ConcurrencyLimiter(() => 0, 10_000);
    const under = await Promise.all(Array.from({ length: 16 }, () => lanes.enter('acme', 'a.test')));
    let came = 0;
    const waiting = Array.from({ length: 3 }, () => lanes.enter('acme', 'a.test').then(() => came++));
    await new Promise((over) => setTimeout(over, 20));
    expect(came).toBe(0);
    for (const leave of under.slice(0, 2)) end(leave);
    await expect.poll(() => came).toBe(2);
    end(under[2]);
    await Promise.all(waiting);
  });
});
