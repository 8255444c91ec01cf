// A job: queue it, follow its events, then sample its policy. Writes sample-*.png.
// Run: node examples/follow-job.ts
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';

const {
  FINDERY_URL = 'http://127.0.0.1:8080',
  FINDERY_KEY,
  PROMPT = 'a green dog on the grass',
} = process.env;
const { BUDGET = '40' } = process.env;

interface Estimate {
  mean: number;
  standardError: number;
}
interface Job {
  id: string;
  status: string;
  policyId: string | null;
  report: { base: Estimate; learned: Estimate; gain: Estimate } | null;
  error: { detail: string } | null;
}

// An Idempotency-Key makes it safe to send the request again when the answer is lost.
const request = { prompt: PROMPT, budget: { images: Number(BUDGET) } };
const queued = (await (await call('/v1/jobs', request, { 'Idempotency-Key': randomUUID() })).json()) as Job;
console.log(`queued ${queued.id}`);

const job = await follow(queued.id);
if (job.status !== 'succeeded' || !job.policyId) throw new Error(`${job.status}: ${job.error?.detail}`);
if (job.report) {
  const { base, learned, gain } = job.report;
  console.log(`base ${base.mean.toFixed(2)}, learned ${learned.mean.toFixed(2)} on fresh noises`);
  console.log(`gain ${gain.mean.toFixed(2)} +- ${gain.standardError.toFixed(2)}`);
}

// Samples of a policy are new images, without a search. Prefer holds the answer until they exist.
const samples = await call(`/v1/policies/${job.policyId}/samples`, { count: 4 }, { Prefer: 'wait=60' });
const { images } = (await samples.json()) as { images: { url: string; reward: number }[] };
for (const [i, { url, reward }] of images.entries()) {
  await writeFile(`sample-${i + 1}.png`, Buffer.from(await (await call(url)).arrayBuffer()));
  console.log(`sample-${i + 1}.png, reward ${reward.toFixed(2)}`);
}

/** Reads the job's server-sent events to the last one, `done`, whose data is the job. */
async function follow(id: string): Promise<Job> {
  // A lost connection is continued after the last event that came.
  let lastId = '';
  for (;;) {
    const response = await call(
      `/v1/jobs/${id}/events`,
      undefined,
      lastId ? { 'Last-Event-ID': lastId } : {},
    );
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true });
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const fields = new Map(
          text
            .slice(0, end)
            .split('\n')
            .map((line) => [line.split(': ')[0], line.slice(line.indexOf(': ') + 2)]),
        );
        text = text.slice(end + 2);
        lastId = fields.get('id') ?? lastId;
        const data = JSON.parse(fields.get('data') ?? 'null');
        if (fields.get('event') === 'done') return data as Job;
        if (fields.get('event') === 'iteration')
          console.log(
            `image ${data.progress.images} of ${data.progress.of}, best ${data.summary.best.toFixed(2)}`,
          );
      }
    }
  }
}

async function call(path: string, body?: object, headers: Record<string, string> = {}): Promise<Response> {
  const response = await fetch(new URL(path, FINDERY_URL), {
    method: body ? 'POST' : 'GET',
    headers: {
      ...(body ? { 'Content-Type': 'application/json' } : {}),
      ...(FINDERY_KEY ? { Authorization: `Bearer ${FINDERY_KEY}` } : {}),
      ...headers,
    },
    body: body && JSON.stringify(body),
  });
  if (!response.ok)
    throw new Error(`${response.status}: ${((await response.json()) as { detail: string }).detail}`);
  return response;
}
