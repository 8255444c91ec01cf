import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { findRedisServer } from '../../src/cli/redis/private-redis.ts';
import { createJobRunner, SHORT_JOB } from '../support/job-runner.ts';
import { answers, query } from '../support/redis-launcher.ts';
import { freePort, until } from '../support/redis-servers.ts';
import { startTestService } from '../support/test-service.ts';
import { interpolate, podsOf, readCompose, readDocker, readResources } from './deployment-files.ts';

/** Starts Redis as the Compose file and the manifests do, and runs the service on it. */
const PASSWORD = 'secret-of-redis';
const environment = { FINDERY_REDIS_PASSWORD: PASSWORD };

/** How a container starts Redis: its command, its configuration, and its health check. */
interface Deployed {
  readonly command: readonly string[];
  readonly configuration: string;
  readonly check: string;
}

const compose = readCompose('compose.yaml');
const { command = [], healthcheck } = compose.services.redis;
const resources = readResources();
const [container] = podsOf(resources).find(({ name }) => name === 'findery-redis')?.spec.containers ?? [];
const CONFIGURATION = '/etc/redis/redis.conf';

const DEPLOYED: readonly [string, Deployed][] = [
  [
    'compose.yaml',
    {
      command: command.map((part) => interpolate(part, environment)),
      configuration: readDocker(compose.configs?.redis.file ?? ''),
      check: healthcheck?.test[1] ?? '',
    },
  ],
  [
    'kubernetes/redis.yaml',
    {
      command: (container.args ?? []).map((part) => part.replace('$(REDISCLI_AUTH)', PASSWORD)),
      configuration: resources.find(({ kind }) => kind === 'ConfigMap')?.data?.['redis.conf'] ?? '',
      check: container.readinessProbe?.exec?.command[2] ?? '',
    },
  ],
];

const started: ChildProcess[] = [];
const folders: string[] = [];
afterAll(async () => {
  for (const child of started) child.kill('SIGKILL');
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

/** Starts the installed redis-server as deployed, on another folder and port. */
async function start({ command, configuration }: Deployed): Promise<{ port: number; url: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'findery-deployed-'));
  folders.push(folder);
  const file = join(folder, 'redis.conf');
  expect(configuration).toMatch(/^dir \/data$/m);
  await writeFile(file, configuration.replace('dir /data', `dir "${folder}"`));
  const program = (await findRedisServer(process.env.PATH ?? '')) ?? 'redis-server';
  const [name, ...parameters] = command.map((part) => part.replace(CONFIGURATION, file));
  expect(name).toBe('redis-server');
  const port = await freePort();
  const child = spawn(program, [...parameters, '--port', String(port), '--bind', '127.0.0.1'], {
    stdio: 'ignore',
    env: { ...process.env, LC_ALL: 'C' },
  });
  started.push(child);
  const url = `redis://:${PASSWORD}@127.0.0.1:${port}`;
  await until(() => answers(url));
  return { port, url };
}

describe.each(DEPLOYED)('the Redis of %s', (_name, deployed) => {
  it('has a password, flushes every write, and refuses work when it is full', async () => {
    const { port, url } = await start(deployed);
    expect(await answers(`redis://127.0.0.1:${port}`)).toBe(false);
    const settings = await query(url, (client) => client.config('GET', '*') as Promise<string[]>);
    const value = (name: string) => settings[settings.indexOf(name) + 1];
    expect(value('appendonly')).toBe('yes');
    expect(value('appendfsync')).toBe('always');
    expect(value('save')).toBe('');
    expect(value('maxmemory')).toBe(String(2 ** 30));
    expect(value('maxmemory-policy')).toBe('noeviction');
  });

  it('is healthy for its check, and not with another password', async () => {
    const { port } = await start(deployed);
    expect(deployed.check).toMatch(/^redis-cli /);
    const check = (password: string) =>
      promisify(execFile)('sh', ['-c', deployed.check.replace('redis-cli', `redis-cli -p ${port}`)], {
        env: { ...process.env, REDISCLI_AUTH: password },
      }).then(
        () => true,
        () => false,
      );
    expect(await check(PASSWORD)).toBe(true);
    expect(await check('another')).toBe(false);
  });
});

it('Compose and Kubernetes configure Redis alike', () => {
  const [compose, kubernetes] = DEPLOYED.map(([, { command, configuration }]) => ({
    command,
    settings: configuration.split('\n').filter((line) => line !== '' && !line.startsWith('#')),
  }));
  expect(kubernetes).toEqual(compose);
});

it('the service runs on it with FINDERY_REQUIRE_DURABLE', async () => {
  const [[, deployed]] = DEPLOYED;
  const { url } = await start(deployed);
  const service = await startTestService({
    REDIS_URL: url,
    FINDERY_REQUIRE_DURABLE: 'true',
    FINDERY_WARM: 'none',
  });
  try {
    await service.startWorker();
    const ready = await fetch(`${service.url}/readyz`);
    expect(await ready.json()).toMatchObject({ status: 'ready', warnings: [] });
    expect(await createJobRunner(service).runUndisturbed(SHORT_JOB)).not.toBe('');
  } finally {
    await service.close();
  }
});
