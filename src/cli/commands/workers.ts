import { parseArgs } from 'node:util';
import { keyHeaders } from '../../client/client.ts';
import type { WorkerInfo } from '../../contract/schemas/catalog.ts';
import { table } from '../table.ts';
import { UsageError } from '../usage-error.ts';

export const summary = 'the workers of a running service, and what they do';
export const usage = `Usage: findery workers [--url http://127.0.0.1:8080] [--json]

Lists the live workers: where they run, on which device, what they have in memory, what they work on. Where the service asks for
keys, FINDERY_KEY is one; without the scope admin, only work of its tenant is shown.`;

export async function run(args: readonly string[]): Promise<number> {
  const { url, json } = parse(args);
  const workers = await fetchWorkers(url);
  if (json) console.log(JSON.stringify(workers, null, 2));
  else if (workers.length === 0)
    console.log('No worker is alive. Start one: npm run worker (npm start brings its own).');
  else console.log([table(workers.map(row)), ...workers.flatMap(remarks)].join('\n'));
  return 0;
}

function parse(args: readonly string[]): { url: string; json: boolean } {
  try {
    const options = { url: { type: 'string' }, json: { type: 'boolean' } } as const;
    const { values } = parseArgs({ args: [...args], options });
    const url = values.url ?? 'http://127.0.0.1:8080';
    if (!URL.canParse(url))
      throw new Error(`--url ${url} is no address; it takes one such as http://127.0.0.1:8080`);
    return { url, json: values.json ?? false };
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function fetchWorkers(url: string): Promise<WorkerInfo[]> {
  const response = await fetch(new URL('/v1/workers', url), { headers: keyHeaders() }).catch(
    (error: Error) => {
      const cause = (error.cause as NodeJS.ErrnoException | undefined)?.code ?? error.message;
      throw new Error(
        `No service answers at ${url} (${cause}); start it with npm start, or give its address with --url.`,
      );
    },
  );
  const body = (await response.json().catch(() => null)) as { data?: WorkerInfo[] } | null;
  if (response.ok && body?.data) return body.data;
  if (response.status === 401 || response.status === 403)
    throw new Error(
      `${url} asks for a key: set FINDERY_KEY to one with the scope admin (findery keys create).`,
    );
  throw new Error(
    `${url} answered with ${response.status}, which is no findery service; give its address with --url.`,
  );
}

/** What an operator should see and has no room in a row. */
function remarks({ id, device, passedOver, batchSize, reducedBatches }: WorkerInfo): string[] {
  return [
    ...(passedOver.length > 0 ? [`${id} uses ${device}: ${passedOver.join('; ')}`] : []),
    ...reducedBatches.map(
      (limit) =>
        `${id} takes ${limit.batchSize} instead of ${batchSize} draws at a time for ${limit.model} at ${limit.width}x${limit.height}: more do not fit into its memory`,
    ),
  ];
}

function row(worker: WorkerInfo): { [column: string]: string } {
  return {
    worker: worker.id,
    device: worker.device,
    'images/s': worker.imagesPerSecond === null ? '-' : worker.imagesPerSecond.toFixed(2),
    memory: `${(worker.memoryBytes / 2 ** 30).toFixed(1)} GiB`,
    batch: String(worker.batchSize),
    loaded: worker.loaded.join(', ') || '-',
    jobs: worker.currentJobs.join(', ') || 'idle',
    since: worker.startedAt,
  };
}
