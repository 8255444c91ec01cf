import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cp, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run as listWorkers } from '../../src/cli/commands/workers.ts';
import { Client } from '../../src/client/client.ts';
import type { Model, WorkerInfo } from '../../src/contract/schemas/catalog.ts';
import { assemble } from '../support/family-fixtures.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

// Bundles are added, changed and removed while the service runs.
let service: TestService;
let client: Client;
let folder: string;
let models: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-live-'));
  models = await mkdtemp(join(tmpdir(), 'findery-live-models-'));
  assemble('sd15', folder);
  service = await startTestService({ FINDERY_MODELS: models, FINDERY_MODELS_IN_MEMORY: '1' });
  client = new Client(service.url);
  await service.startWorker();
});

afterAll(async () => {
  await service?.close();
  for (const each of [folder, models]) await rm(each, { recursive: true, force: true });
});

const modelNames = async () =>
  ((await (await fetch(`${service.url}/v1/models`)).json()) as { data: Model[] }).data
    .filter(({ available }) => available)
    .map(({ name }) => name);
const workers = async () =>
  ((await (await fetch(`${service.url}/v1/workers`)).json()) as { data: WorkerInfo[] }).data;
/** Longer than the interval at which the folders are read. */
const nextRefresh = () => new Promise((resolve) => setTimeout(resolve, 300));
const sample = (model: string) =>
  client.sample('/v1/samples', { model, prompt: 'a green dog', seed: 3, count: 1, steps: 2, reward: null });
const picture = async (model: string) => client.bytes((await sample(model)).images[0].url);

describe('a bundle', () => {
  it('can be used once its folder is complete', async () => {
    expect(await modelNames()).toEqual(['stickers']);
    await cp(join(folder, 'sd15'), join(models, '.mine.adding'), { recursive: true });
    await nextRefresh();
    expect(await modelNames()).toEqual(['stickers']); // hidden: being added
    await rename(join(models, '.mine.adding'), join(models, 'mine'));
    await nextRefresh();
    expect(await modelNames()).toEqual(['mine', 'stickers']);
    expect((await sample('mine')).status).toBe('succeeded');
  });

  it('is opened again after its files have changed', async () => {
    const before = await picture('mine');
    expect(await picture('mine')).toEqual(before);
    const path = join(models, 'mine', 'vae_decoder', 'config.json');
    const config = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...config, scaling_factor: config.scaling_factor * 2 }));
    await nextRefresh();
    expect(await picture('mine')).not.toEqual(before);
  });

  it('is closed if it is the least recently used one and there are too many', async () => {
    await sample('stickers');
    await nextRefresh();
    await expect
      .poll(async () => (await workers())[0].loaded, { timeout: 8000 })
      .toEqual(expect.arrayContaining(['stickers']));
    expect((await workers())[0].loaded).not.toContain('mine');
    expect((await sample('mine')).status).toBe('succeeded');
  });

  it('is not available while it is damaged', async () => {
    const path = join(models, 'mine', 'scheduler', 'scheduler_config.json');
    const sound = readFileSync(path);
    writeFileSync(path, '{');
    await nextRefresh();
    expect(await modelNames()).toEqual(['stickers']);
    writeFileSync(path, sound);
    await nextRefresh();
    expect(await modelNames()).toEqual(['mine', 'stickers']);
  });

  it('is unknown after its folder was removed, and a job that waits for it fails', async () => {
    const request = { prompt: 'a green dog', model: 'mine', reward: 'jpeg-size', samples: 0, reportDraws: 0 };
    // The first job keeps the only worker busy while the other one waits.
    const first = await client.createJob({ ...request, model: 'stickers', budget: { images: 60 } });
    const waiting = await client.createJob({ ...request, budget: { images: 2 } });
    rmSync(join(models, 'mine'), { recursive: true });
    const ended = await client.follow(waiting, () => {});
    expect(ended).toMatchObject({
      status: 'failed',
      error: {
        code: 'unknown-model',
        detail: expect.stringContaining('There is no model "mine"; there are: stickers.'),
      },
    });
    await client.follow(first, () => {});
    await expect(client.createJob(request)).rejects.toThrow(
      /422.*There is no model "mine"; there are: stickers\./,
    );
    await expect(client.createJob({ ...request, model: '../models/mine' })).rejects.toThrow(/4\d\d/);
  });
});

describe('findery workers', () => {
  it('lists the devices of the workers and the loaded models', async () => {
    const lines: string[] = [];
    const log = console.log;
    console.log = (line: string) => lines.push(line);
    try {
      expect(await listWorkers(['--url', service.url])).toBe(0);
      expect(await listWorkers(['--url', service.url, '--json'])).toBe(0);
    } finally {
      console.log = log;
    }
    const [worker] = await workers();
    expect(lines[0]).toMatch(/^worker +device +images\/s +memory +batch +loaded/);
    expect(lines[0]).toContain(worker.id);
    expect(JSON.parse(lines[1])).toMatchObject([
      { id: worker.id, device: 'cpu', memoryBytes: expect.any(Number) },
    ]);
  });
});
