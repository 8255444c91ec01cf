import { spawn } from 'node:child_process';
import { findProgram } from './find-program.ts';

/**
 * Installs Debian's redis-server. The package would also start a system service. A policy-rc.d that
 * exits with 101 forbids that (invoke-rc.d(8)); the script puts one in place during the
 * installation, unless there is one already. The package lists are updated only when apt does not
 * know the package.
 */
const SCRIPT = `set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' INT TERM HUP
  printf '#!/bin/sh\\nexit 101\\n' >"$policy"
  chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=60 redis-server; }
install || { apt-get update -q && install; }`;

const INSTALL_TIMEOUT_MS = 300_000;

/**
 * Installs redis-server if that needs no answer from a person: apt-get exists, and this process is
 * root or may use sudo without a password.
 *
 * @param searchPath folders with apt-get and sudo, separated as in PATH
 * @param log receives what is being done and what went wrong
 * @returns whether redis-server is installed now
 */
export async function installRedis(searchPath: string, log: (line: string) => void): Promise<boolean> {
  if ((await findProgram('apt-get', searchPath)) === null) return false;
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && !(await run('sudo', ['-n', 'true'], searchPath)).ok) return false;
  log('There is no redis-server on the PATH. Installing it with apt-get, without its system service ...');
  const command = ['/bin/sh', '-c', SCRIPT];
  const { ok, output } = isRoot
    ? await run(command[0], command.slice(1), searchPath)
    : await run('sudo', ['-n', ...command], searchPath);
  if (ok) log('redis-server is installed.');
  else log(`apt-get could not install redis-server. Its last lines:\n${output.trim().slice(-1000)}`);
  return ok;
}

function run(program: string, parameters: readonly string[], searchPath: string) {
  return new Promise<{ ok: boolean; output: string }>((resolve) => {
    const child = spawn(program, parameters, {
      env: { ...process.env, PATH: searchPath },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: INSTALL_TIMEOUT_MS,
    });
    let output = '';
    for (const pipe of [child.stdout, child.stderr]) {
      pipe.on('data', (text: Buffer) => {
        output = (output + text).slice(-4000);
      });
    }
    child.on('error', (error) => resolve({ ok: false, output: error.message }));
    child.on('close', (code) => resolve({ ok: code === 0, output }));
  });
}
