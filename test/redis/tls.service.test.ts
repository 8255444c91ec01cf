import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { openStore } from '../../src/store/store.ts';
import { until } from '../support/redis-launcher.ts';

/** A Redis that takes TLS only and asks clients for certificates of its own authority. */
let folder: string;
let url: string;
let server: ReturnType<typeof spawn>;
const file = (name: string) => join(folder, name);

function makeCertificate(name: string, subject: string, signer: string | null): void {
  const key = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    `${name}.key`,
  ];
  const issuer = signer ? ['-CA', `${signer}.pem`, '-CAkey', `${signer}.key`] : [];
  const names = signer ? ['-addext', 'subjectAltName=IP:127.0.0.1'] : [];
  const options = ['-x509', ...key, ...issuer, ...names, '-subj', `/CN=${subject}`, '-days', '1'];
  execFileSync('openssl', ['req', ...options, '-out', `${name}.pem`], { cwd: folder, stdio: 'pipe' });
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-tls-'));
  makeCertificate('ca', 'authority', null);
  makeCertificate('other-ca', 'another authority', null);
  makeCertificate('redis', 'redis', 'ca');
  makeCertificate('client', 'findery', 'ca');
  const port = await freePort();
  const lines = [
    'port 0',
    `tls-port ${port}`,
    'bind 127.0.0.1',
    'tls-cert-file redis.pem',
    'tls-key-file redis.key',
    'tls-ca-cert-file ca.pem',
    'tls-auth-clients yes',
    'save ""',
  ];
  await writeFile(file('redis.conf'), lines.join('\n'));
  const env = { ...process.env, LC_ALL: 'C' };
  server = spawn('redis-server', ['redis.conf'], { cwd: folder, stdio: 'ignore', env });
  url = `rediss://127.0.0.1:${port}`;
  await until(() => attempt({ redisCa: file('ca.pem'), ...CLIENT() }).then(Boolean, () => false));
});
afterAll(async () => {
  server.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

const CLIENT = () => ({ redisCert: file('client.pem'), redisKey: file('client.key') });
const NO_FILES = { redisCa: null, redisCert: null, redisKey: null };
const attempt = (files: object) =>
  ensureRedis({ url, dataDir: folder, log: () => {}, tls: { ...NO_FILES, ...files } });

it('is used with its authority and a client certificate', async () => {
  const tls = { redisCa: file('ca.pem'), ...CLIENT() };
  expect((await attempt(tls)).origin).toBe('given');
  const store = await openStore(url, 'tls', { failFast: true, tls });
  await store.redis.set('tls:key', 'value');
  // Copies of the connection, as BullMQ makes them, use TLS too.
  const copy = store.redis.duplicate();
  expect(await copy.get('tls:key')).toBe('value');
  copy.disconnect();
  await store.close();
});

it('is refused without its authority, or with another one', async () => {
  await expect(attempt(CLIENT())).rejects.toThrow(/self-signed certificate|unable to verify/);
  await expect(attempt({ redisCa: file('other-ca.pem'), ...CLIENT() })).rejects.toThrow(/certificate/);
});

it('refuses a client without a certificate', async () => {
  await expect(attempt({ redisCa: file('ca.pem') })).rejects.toThrow(/can't be used/);
});

it('needs files that can be read', async () => {
  await expect(attempt({ redisCa: file('missing.pem') })).rejects.toThrow(
    /FINDERY_REDIS_CA names a file that can't be read/,
  );
});
