import { spawn } from 'node:child_process';
import { findProgram } from './find-program.ts';

/**
 * Installs Debian's redis-server. Its package starts a service of its own, which nobody asked for; a policy-rc.d that
 * forbids it (invoke-rc.d(8): exit status 101) stands while the package is set up, unless the machine has one already.
 * The lists of packages are fetched only when the package is not known yet.
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

/** How long all of it may take, milliseconds. */
const PATIENCE = 300_000;

/**
 * Installs redis-server where that needs no question: apt-get is there, and this process is root or may use sudo without a
 * password. Resolves to whether it is installed now; tells `log` what is done and what went wrong.
 *
 * @param searchPath where apt-get and sudo are looked for, as in PATH
 */
export async function installRedis(searchPath: string, log: (line: string) => void): Promise<boolean> {
  if ((await findProgram('apt-get', searchPath)) === null) return false;
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && !(await run('sudo', ['-n', 'true'], searchPath)).ok) return false;
  log('No redis-server on the PATH. Installing it once with apt-get, without starting its service ...');
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
      timeout: PATIENCE,
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
