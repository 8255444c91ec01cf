/**
 * Second half of check_checkpoint.py: serves an imported bundle as `npm start` does and samples a
 * picture over HTTP.
 *
 *     node tools/parity/serve-checkpoint.ts MODELS MODEL WORK [REWARD]
 *
 * MODELS is the folder that holds MODEL (and REWARD). Writes noise.f32, picture.rgb and
 * picture.json to WORK, for the comparison with diffusers. With REWARD, a job of 4 images follows.
 * Prints the worker's peak memory (Linux).
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import sharp from 'sharp';
import { createLogger } from '../../src/cli/logger.ts';
import { runMain } from '../../src/cli/run-main.ts';
import { startService } from '../../src/cli/service.ts';
import { Client } from '../../src/client/client.ts';
import { readConfig } from '../../src/config/config.ts';
import { STREAMS } from '../../src/core/noise.ts';
import { standardNormal } from '../../src/numerics/normal.ts';

const PROMPT = 'a green dog on the grass';
const SEED = 7;
const STEPS = 2;

await runMain(async () => {
  const [models, model, work, reward] = process.argv.slice(2);
  // The worker process inherits the environment.
  process.env.FINDERY_MODELS = resolve(models);
  process.env.FINDERY_DATA = resolve(work, 'data');
  const config = { ...readConfig(process.env), port: 0, logLevel: 'warn' as const };
  const began = performance.now();
  const service = await startService({ config, logger: createLogger(config, 'check'), print: () => {} });
  try {
    await service.workerReady;
    console.log(`worker ready after ${seconds(began)} (graphs opened, one picture to warm up)`);
    const client = new Client(service.url);
    const started = performance.now();
    const sample = await client.sample('/v1/samples', {
      model,
      reward: null,
      prompt: PROMPT,
      seed: SEED,
      count: 1,
      steps: STEPS,
    });
    const [{ url, width, height }] = sample.images;
    console.log(`${width}x${height}, ${STEPS} steps: ${seconds(started)}`);
    const pixels = await sharp(await client.bytes(url))
      .removeAlpha()
      .raw()
      .toBuffer();
    const noise = standardNormal(
      { seed: SEED, stream: STREAMS.samples, index: 0 },
      4 * (height / 8) * (width / 8),
    );
    await writeFile(join(work, 'picture.rgb'), pixels);
    await writeFile(join(work, 'noise.f32'), new Uint8Array(noise.buffer));
    const { scheduler, steps, guidanceScale } = sample.sampler;
    await writeFile(
      join(work, 'picture.json'),
      JSON.stringify({ prompt: PROMPT, scheduler, steps, guidanceScale, width, height }),
    );
    if (reward) await learn(client, model, reward);
    const [{ pid }] = (await (await fetch(new URL('/v1/workers', service.url))).json()).data;
    const peak = /VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''))?.[1];
    if (peak) console.log(`peak memory of the worker: ${(Number(peak) / 2 ** 20).toFixed(2)} GiB`);
  } finally {
    await service.close();
  }
});

async function learn(client: Client, model: string, reward: string): Promise<void> {
  const began = performance.now();
  const job = await client.createJob({
    model,
    reward,
    prompt: PROMPT,
    seed: SEED,
    optimizer: { name: 'best-of-n' },
    budget: { images: 4 },
    sampler: { steps: STEPS },
    samples: 0,
    reportDraws: 2,
  });
  const ended = await client.follow(job, () => {});
  console.log(
    `job: ${ended.status} after ${seconds(began)}, ${ended.progress.images} images of ${STEPS} steps`,
  );
  if (ended.status !== 'succeeded') throw new Error(ended.error?.detail ?? 'the job failed');
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
