import { keyHeaders } from '../../client/client.ts';
import type { WorkerInfo } from '../../contract/schemas/catalog.ts';
import { parseArguments, UsageError } from '../arguments.ts';
import { table } from '../table.ts';

export const summary = 'lists the workers of a running service and their jobs';
export const usage = `Usage: findery workers [--url http://127.0.0.1:8080] [--json]

Lists the live workers: host, device, models in memory, current jobs. If the service requires API keys,
set FINDERY_KEY to one. A key without the scope admin shows only the jobs of its tenant.`;

/** `findery workers`. */
export async function run(args: readonly string[]): Promise<number> {
  const { values } = parseArguments(args, {
    options: { url: { type: 'string' }, json: { type: 'boolean' } },
  });
  const { url = 'http://127.0.0.1:8080', json = false } = values;
  if (!URL.canParse(url))
    throw new UsageError(`--url "${url}" is not a URL; it takes one such as http://127.0.0.1:8080`);
  const workers = await fetchWorkers(url);
  if (json) console.log(JSON.stringify(workers, null, 2));
  else if (workers.length === 0)
    console.log('No worker is alive. Start one with npm run worker (npm start includes one).');
  else console.log([table(workers.map(row)), ...workers.flatMap(remarks)].join('\n'));
  return 0;
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
      `${url} requires an API key: set FINDERY_KEY to one with the scope admin (findery keys create).`,
    );
  throw new Error(
    `${url} answered with ${response.status}, which a findery service does not; give its address with --url.`,
  );
}

/** Lines below the table: devices that were not used, and batch sizes that memory limits. */
function remarks({ id, device, passedOver, batchSize, reducedBatches }: WorkerInfo): string[] {
  return [
    ...(passedOver.length > 0 ? [`${id} uses ${device}: ${passedOver.join('; ')}`] : []),
    ...reducedBatches.map(
      (limit) =>
        `${id} batches ${limit.batchSize} noises instead of ${batchSize} for ${limit.model} ` +
        `at ${limit.width}x${limit.height}: its memory does not hold more`,
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
