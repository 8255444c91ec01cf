import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { findProgram } from '../../../src/cli/redis/find-program.ts';
import { findPrivateRedis } from '../../../src/cli/redis/private-redis.ts';
import {
  answers,
  folderWithServer,
  isGroupRunning,
  query,
  serverProcess,
  temporaryFolder,
  until,
  useRedisLauncher,
} from '../../support/redis-launcher.ts';

const launcher = useRedisLauncher();

describe('a private Redis', () => {
  it('answers on a unix socket only, flushes every write to the disk and evicts nothing', async () => {
    const { url, origin } = await launcher.start();
    expect(origin).toBe('private');
    expect(url).toMatch(/\/redis\/redis\.sock$/);
    const settings = await query(url, async (client) => {
      const pairs = (await client.config('GET', '*')) as string[];
      return Object.fromEntries(pairs.flatMap((name, i) => (i % 2 ? [] : [[name, pairs[i + 1]]])));
    });
    expect(settings).toMatchObject({
      port: '0',
      appendonly: 'yes',
      appendfsync: 'always',
      'maxmemory-policy': 'noeviction',
      save: '',
    });
    expect(settings.dir).toMatch(/redis$/);
    expect(launcher.log.at(-1)).toContain(url);
  });

  it('has files that other users cannot read, in a folder of an earlier release too', async () => {
    const folder = join(launcher.dataDir, 'redis');
    await mkdir(folder, { mode: 0o755 });
    await launcher.start();
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    expect(entries.length).toBeGreaterThan(2);
    for (const path of [folder, ...entries.map(({ parentPath, name }) => join(parentPath, name))]) {
      expect((await stat(path)).mode & 0o077, path).toBe(0);
    }
  });

  it('leaves no process after stop, which is idempotent, and keeps its data for the next start', async () => {
    const first = await launcher.start();
    const server = await serverProcess(first.url);
    await query(first.url, (client) => client.set('job', 'kept'));
    await first.stop();
    await first.stop();
    expect(() => process.kill(server, 0)).toThrow('ESRCH');
    await until(() => !isGroupRunning(server));
    expect(await readdir(join(launcher.dataDir, 'redis'))).not.toContain('owner.json');

    const second = await launcher.start();
    expect(await query(second.url, (client) => client.get('job'))).toBe('kept');
  });

  it('refuses a second server on the same folder and says how to share the first', async () => {
    const first = await launcher.start();
    await expect(launcher.start()).rejects.toThrow(`set REDIS_URL='${first.url}'`);
    await expect(launcher.start()).rejects.toThrow(`in use by process ${process.pid}`);
    expect(await answers(first.url)).toBe(true);
  });

  it('runs one server for each folder', async () => {
    const other = await temporaryFolder();
    const services = await Promise.all([launcher.start(), launcher.start({ dataDir: other })]);
    const servers = await Promise.all(services.map(({ url }) => serverProcess(url)));
    expect(new Set(servers).size).toBe(2);
  });

  it.each([
    ['is killed without a chance to clean up', 'SIGKILL', ''],
    ['is terminated', 'SIGTERM', ''],
    ['throws', null, 'setTimeout(() => { throw new Error("uncaught"); }, 50);'],
    ['exits normally', null, 'clearInterval(alive);'],
  ] as const)('ends when the process that started it %s', async (_, signal, then) => {
    const { child, url } = await launcher.startInProcess(then);
    if (signal) {
      expect(await answers(url)).toBe(true);
      child.kill(signal);
    }
    await until(async () => !(await answers(url)));
  });

  it('survives a Ctrl-C, which a terminal sends to the process group', async () => {
    const { url } = await launcher.start();
    const server = await serverProcess(url);
    // The server leads a process group, so it is not in the group of this process.
    const text = execFileSync('ps', ['-o', 'pgid=', '-p', String(server)], { encoding: 'utf8' });
    expect(Number(text)).toBe(server);
  });

  it('starts again with its data right after its process was killed', async () => {
    const { child, url } = await launcher.startInProcess();
    await query(url, (client) => client.set('job', 'kept'));
    child.kill('SIGKILL');
    await once(child, 'exit');
    const next = await launcher.start();
    expect(await query(next.url, (client) => client.get('job'))).toBe('kept');
  });

  it('ignores the lock file that a crashed machine left behind', async () => {
    const { url, stop } = await launcher.start();
    await stop();
    // After a reboot the process number in the file may belong to any process, here to this one.
    await writeFile(join(launcher.dataDir, 'redis', 'owner.json'), JSON.stringify({ pid: process.pid, url }));
    await launcher.start();
    expect(JSON.parse(await readFile(join(launcher.dataDir, 'redis', 'owner.json'), 'utf8'))).toMatchObject({
      pid: process.pid,
    });
  });

  it('leaves the server of another folder alone when a stale lock file names it', async () => {
    const other = await temporaryFolder();
    const { url } = await launcher.start({ dataDir: other });
    await mkdir(join(launcher.dataDir, 'redis'));
    await writeFile(join(launcher.dataDir, 'redis', 'owner.json'), JSON.stringify({ pid: 2 ** 30, url }));
    expect((await launcher.start()).url).not.toBe(url);
    expect(await answers(url)).toBe(true);
  });

  it('logs when its server exits by itself, and its watchdog exits too', async () => {
    const { url } = await launcher.start();
    const server = await serverProcess(url);
    process.kill(server, 'SIGKILL');
    await until(() => launcher.log.some((line) => line.includes('exited')));
    await until(() => !isGroupRunning(server));
  });

  it('restarts on the same socket with all acknowledged writes, as often as it is killed', async () => {
    const { url, stop } = await launcher.start();
    for (const round of ['first', 'second']) {
      await query(url, (client) => client.set(round, 'kept'));
      const server = await serverProcess(url);
      process.kill(server, 'SIGKILL');
      await until(() => answers(url));
      expect(await serverProcess(url)).not.toBe(server);
    }
    expect(await query(url, (client) => client.mget('first', 'second'))).toEqual(['kept', 'kept']);
    const last = await serverProcess(url);
    await stop();
    expect(await answers(url)).toBe(false);
    expect(isGroupRunning(last)).toBe(false);
  });

  it('has its socket in a folder for temporary files when its own path is too long for one', async () => {
    const dataDir = join(launcher.dataDir, 'long'.repeat(30));
    const first = await launcher.start({ dataDir });
    expect(Buffer.byteLength(first.url)).toBeLessThan(104);
    expect((await stat(dirname(first.url))).mode & 0o077).toBe(0);
    expect(await findPrivateRedis(dataDir)).toBe(first.url);
    await query(first.url, (client) => client.set('job', 'kept'));
    await expect(launcher.start({ dataDir })).rejects.toThrow(`set REDIS_URL='${first.url}'`);
    await first.stop();
    await expect(stat(dirname(first.url))).rejects.toThrow('ENOENT');
    expect(await findPrivateRedis(dataDir)).toBeNull();
    const second = await launcher.start({ dataDir });
    expect(await query(second.url, (client) => client.get('job'))).toBe('kept');
  });

  it('replaces the server of an earlier release, which listened on a port, and has its data', async () => {
    const folder = join(launcher.dataDir, 'redis');
    await mkdir(folder);
    const [name, port] = ['127.0.0.1', 20_000 + (process.pid % 10_000)];
    const options = ['--port', String(port), '--bind', name, '--dir', folder, '--appendonly', 'yes'];
    const server = spawn('redis-server', options, { stdio: 'ignore', env: { ...process.env, LC_ALL: 'C' } });
    onTestFinished(() => void server.kill('SIGKILL'));
    const url = `redis://${name}:${port}`;
    await until(() => answers(url));
    await query(url, (client) => client.set('job', 'kept'));
    const lock = (pid: number) => writeFile(join(folder, 'owner.json'), JSON.stringify({ pid, port }));
    await lock(process.pid);
    await expect(launcher.start()).rejects.toThrow(`set REDIS_URL='${url}'`);
    await lock(2 ** 30); // no process has this number
    const next = await launcher.start();
    expect(await query(next.url, (client) => client.get('job'))).toBe('kept');
    expect(await answers(url)).toBe(false);
  });

  it('shows the last lines of a server that does not start', async () => {
    const folder = await folderWithServer('echo "Bad directive or wrong number of arguments"\nexit 1\n');
    await expect(launcher.start({ searchPath: folder })).rejects.toThrow(
      'Bad directive or wrong number of arguments',
    );
    expect(await readdir(join(launcher.dataDir, 'redis'))).not.toContain('owner.json');
  });

  it('runs valkey-server when there is no redis-server', async () => {
    const folder = await temporaryFolder();
    const real = await findProgram('redis-server', process.env.PATH ?? '');
    await symlink(real ?? '', join(folder, 'valkey-server'));
    const { url } = await launcher.start({ searchPath: folder });
    expect(await answers(url)).toBe(true);
  });

  it('says what to do when neither is installed', async () => {
    await expect(launcher.start({ searchPath: '' })).rejects.toThrow(
      /redis-server nor valkey-server.*Install one.*REDIS_URL/s,
    );
  });
});
