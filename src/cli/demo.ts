import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { Presets, SingleBar } from 'cli-progress';
import { Client } from '../client/client.ts';
import { readConfig } from '../config/config.ts';
import type { JobEvents } from '../contract/schemas/event.ts';
import type { Job } from '../contract/schemas/job.ts';
import type { Report } from '../contract/schemas/policy.ts';
import type { Sample } from '../contract/schemas/sample.ts';
import { contactSheet } from '../pictures/contact-sheet.ts';
import { renderSvg } from '../pictures/svg-renderer.ts';
import { parseArguments, UsageError } from './arguments.ts';
import { createLogger } from './logger.ts';
import { runMain } from './run-main.ts';
import { startService } from './service.ts';

/** The embedded model often swaps the two: the base row shows both orders. */
const PROMPT = 'a black boat below a white house in the desert';
const SEED = 1;
const USAGE = 'npm run demo -- [--prompt TEXT] [--seed N] [--out FOLDER]';
/**
 * Seed and number of the contact sheet's noises. Neither the search nor the report uses this seed.
 */
const SHEET = { seed: 2024, count: 8 };

/**
 * `npm run demo`: learns the noise distribution of one prompt over HTTP, as any client would, and
 * writes a contact sheet and the reward curve to a folder, `demo-output/` by default.
 */
await runMain(async (stop) => {
  const { prompt, seed, out } = readOptions(process.argv.slice(2));
  const config = { ...readConfig(process.env), port: 0, logLevel: 'warn' as const };
  const began = performance.now();
  console.log('Starting findery (Redis, API, worker) ...');
  const service = await startService({
    config,
    logger: createLogger(config, 'demo'),
    print: (line) => console.log(`  ${line}`),
  });
  try {
    await service.workerReady;
    const client = new Client(service.url);
    console.log(`  ready at ${service.url} after ${seconds(performance.now() - began)}\n`);
    console.log(`Learning the initial noise of "${prompt}" ...`);
    const job = await client.createJob({ prompt, seed });
    const ended = await followWithBar(client, job, stop);
    if (ended.status !== 'succeeded' || !ended.report || !ended.policyId) {
      throw new Error(`The job ended as ${ended.status}${ended.error ? `: ${ended.error.detail}` : '.'}`);
    }
    console.log(compare(ended.report));
    const folder = await writeFigures(client, ended, resolve(out));
    console.log(
      `\nWritten:\n  ${join(folder, 'contact-sheet.png')}   ` +
        `the same ${SHEET.count} noises through the base and the learned distribution`,
    );
    console.log(`  ${join(folder, 'rewards.png')}         the reward of every iteration, raw and smoothed`);
    console.log(nextSteps(ended.policyId));
    console.log(`\nDone in ${seconds(performance.now() - began)}.`);
  } finally {
    await service.close();
  }
});

function readOptions(args: readonly string[]): { prompt: string; seed: number; out: string } {
  const { values } = parseArguments(args, {
    options: {
      prompt: { type: 'string', default: PROMPT },
      seed: { type: 'string', default: String(SEED) },
      out: { type: 'string', default: 'demo-output' },
    },
  });
  const seed = Number(values.seed);
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new UsageError(`--seed is "${values.seed}"; it takes a whole number from 0 on. Usage: ${USAGE}`);
  return { ...values, seed };
}

async function followWithBar(client: Client, job: Job, stop: AbortSignal): Promise<Job> {
  const bar = new SingleBar(
    {
      format: '  {bar} {percentage}% | {stage} | reward {reward} (best {best}) | {left} left',
      noTTYOutput: true,
      notTTYSchedule: 3000,
      hideCursor: true,
      stopOnComplete: false,
    },
    Presets.shades_classic,
  );
  bar.start(100, 0, { stage: 'waiting', reward: '-', best: '-', left: '?' });
  let searchSeconds = 0;
  const began = performance.now();
  try {
    return await client.follow(
      job,
      (type, data) => {
        if (type === 'iteration') {
          const { summary, progress } = data as JobEvents['iteration'];
          searchSeconds = performance.now() - began;
          bar.update(progress.fraction * 100, {
            stage: `image ${progress.images} of ${progress.of}`,
            reward: summary.smoothed.toFixed(2),
            best: summary.best.toFixed(2),
            left: progress.secondsLeft === null ? '?' : `${Math.ceil(progress.secondsLeft)} s`,
          });
        } else if (type === 'status') {
          const { stage } = data as JobEvents['status'];
          if (stage === 'judging') bar.update({ stage: 'judging on unseen noises' });
          if (stage === 'ended') bar.update(100, { stage: 'done', left: '0 s' });
        }
      },
      stop,
    );
  } finally {
    bar.stop();
    if (searchSeconds > 0) console.log(`  the search took ${seconds(searchSeconds)}\n`);
  }
}

function compare({ base, learned, gain, successRate, diversityRatio, meanNorm, draws }: Report): string {
  const number = (value: number) => value.toFixed(3).padStart(7);
  return [
    `On ${draws} noises that the search never saw, each through both distributions:`,
    `  base    N(0, I)   mean reward ${number(base.mean)}  +- ${base.standardError.toFixed(3)}`,
    `  learned policy    mean reward ${number(learned.mean)}  +- ${learned.standardError.toFixed(3)}`,
    `  gain              ${number(gain.mean)}  +- ${gain.standardError.toFixed(3)}   ` +
      `(${(gain.mean / gain.standardError).toFixed(1)} standard errors)`,
    `  ${(successRate * 100).toFixed(0)} % of the learned samples exceed the base's 90th percentile; ` +
      `diversity ratio ${diversityRatio?.toFixed(2) ?? 'unknown'}; mean norm ${meanNorm.toFixed(3)}`,
  ].join('\n');
}

async function writeFigures(client: Client, job: Job, folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const base = await client.sample('/v1/samples', { prompt: job.prompt, ...SHEET });
  const learned = await client.sample(`/v1/policies/${job.policyId}/samples`, SHEET);
  const row = async (label: string, { images }: Sample) => ({
    label,
    pictures: await Promise.all(
      images.map(async ({ url, reward }) => ({
        png: await client.bytes(url),
        caption: reward?.toFixed(2) ?? '',
      })),
    ),
  });
  const svg = contactSheet({
    title: job.prompt,
    subtitle: 'the same noises through N(0, I) and through the learned distribution; rewards below',
    rows: [await row('base', base), await row('learned', learned)],
  });
  await writeFile(join(folder, 'contact-sheet.png'), renderSvg(svg));
  await writeFile(join(folder, 'rewards.png'), await client.bytes(`${job.urls.rewards}?format=png`));
  await writeFile(join(folder, 'rewards.svg'), await client.bytes(`${job.urls.rewards}?format=svg`));
  return relative(process.cwd(), folder) || '.';
}

function nextSteps(policyId: string): string {
  return [
    '\nThe policy is stored. To sample a new picture from it, start the service and run:',
    '  npm start',
    "  curl -s -H 'Accept: image/png' -H 'Content-Type: application/json' " +
      `-d '{"policy": "${policyId}"}' -o picture.png http://127.0.0.1:8080/v1/images`,
    `  curl -s -o policy.safetensors http://127.0.0.1:8080/v1/policies/${policyId}/parameters`,
  ].join('\n');
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
