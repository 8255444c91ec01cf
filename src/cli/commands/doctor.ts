import { ConfigError, readConfig } from '../../config/config.ts';
import { VERSION } from '../../version.ts';
import { parseArguments } from '../arguments.ts';
import { type Finding, ok, problem, type Result, warning } from '../doctor/finding.ts';
import { checkProviders } from '../doctor/providers.ts';
import { checkRedis } from '../doctor/redis.ts';
import { checkModels, checkPermissions, checkStorage } from '../doctor/storage.ts';
import { readNvidia } from '../gpu/driver.ts';
import { onnxRuntimeVersion } from '../gpu/library-folder.ts';

export const summary = 'looks for what keeps a service on this machine from working';
export const usage = `Usage: findery doctor [--json]

Looks at versions, Redis and its persistence, the clock, storage, permissions, models, execution providers,
NVIDIA's driver and card, and prints a line for each: ok, warning or problem with what to do. Writes
nothing but a probe to storage. A running service is not needed.

--json   print {"ok": BOOLEAN, "checks": [{"check", "status", "message"}]}

Exit status: 0 without a problem (warnings allowed), 1 with one, 2 for arguments that can't be understood.
The environment selects the service, as for npm start.`;

/** The version of Node that is tested. onnxruntime-node's float16 tensors fail on 24 and later. */
const NODE_MAJOR = 22;

/** `findery doctor`. */
export async function run(args: readonly string[]): Promise<number> {
  const { values } = parseArguments(args, { options: { json: { type: 'boolean' } } });
  const findings = await examine(process.env);
  const isWell = findings.every(({ status }) => status !== 'problem');
  if (values.json) console.log(JSON.stringify({ ok: isWell, checks: findings }, null, 2));
  else
    for (const { check, status, message } of findings)
      console.log(`${status.padEnd(8)} ${check}: ${message}`);
  return isWell ? 0 : 1;
}

async function examine(environment: NodeJS.ProcessEnv): Promise<Finding[]> {
  const program: Finding[] = [
    { check: 'findery', ...ok(`${VERSION}, onnxruntime-node ${await onnxRuntimeVersion()}`) },
    { check: 'node', ...checkNode(process.versions.node) },
  ];
  let config: ReturnType<typeof readConfig>;
  try {
    config = readConfig(environment);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [...program, { check: 'settings', ...problem(error.message) }];
  }
  const nvidia = await readNvidia();
  const groups = await Promise.all([
    guard('redis', checkRedis(config)),
    guard('storage', checkStorage(config)),
    guard('permissions', checkPermissions(config)),
    guard('models', checkModels(config)),
    guard('providers', checkProviders(config, nvidia)),
  ]);
  return [...program, ...groups.flat()];
}

/** One check that fails does not keep the others from being printed. */
async function guard(check: string, looking: Promise<Result | Finding[]>): Promise<Finding[]> {
  try {
    const found = await looking;
    return Array.isArray(found) ? found : [{ check, ...found }];
  } catch (error) {
    return [{ check, ...problem((error as Error).message) }];
  }
}

function checkNode(version: string): Result {
  return Number.parseInt(version, 10) === NODE_MAJOR
    ? ok(version)
    : warning(
        `${version}: findery is tested on Node ${NODE_MAJOR}, which npm ci installs. Use npm's scripts`,
      );
}
