import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApi } from '../../src/api/server.ts';
import {
  expectNothingStored,
  expectProblem,
  expectProblemText,
  PROMPT,
  readOk,
  startTestApi,
  type TestApi,
} from '../support/test-api.ts';

const MODELS = join(import.meta.dirname, '..', '..', 'models');
let api: TestApi;
let modelFolder: string;

beforeAll(async () => {
  modelFolder = await mkdtemp(join(tmpdir(), 'findery-models-'));
  for (const name of ['no-unet', 'bad-config', 'empty-graph'])
    await cp(join(MODELS, 'stickers'), join(modelFolder, name), { recursive: true });
  await rm(join(modelFolder, 'no-unet', 'unet', 'model.onnx'));
  await writeFile(join(modelFolder, 'bad-config', 'unet', 'config.json'), '{"sample_size": 16,');
  await writeFile(join(modelFolder, 'empty-graph', 'vae_decoder', 'model.onnx'), '');
  api = await startTestApi({ modelFolders: [modelFolder, MODELS] });
});

afterAll(async () => {
  await api.close();
  await rm(modelFolder, { recursive: true, force: true });
});

describe('damaged bundles', () => {
  const DAMAGED = [
    ['no-unet', 'unet/model.onnx is missing'],
    ['bad-config', 'unet/config.json is not JSON'],
    ['empty-graph', 'vae_decoder/model.onnx has only 0 bytes'],
  ];

  it.each(DAMAGED)(
    '%s is listed as unavailable and refused, with the name of the file',
    async (name, message) => {
      const { data } = (await readOk(await api.get('/v1/models'), 200)) as { data: { name: string }[] };
      expect(data.find((model) => model.name === name)).toMatchObject({
        available: false,
        default: false,
        problem: expect.stringContaining(message),
      });
      for (const path of ['/v1/jobs', '/v1/samples']) {
        const problem = await expectProblem(
          await api.post(path, { prompt: PROMPT, model: name }),
          422,
          'broken-bundle',
        );
        expectProblemText(problem, ['/model', name, message]);
      }
    },
  );

  it('do not affect other bundles', async () => {
    const model = await readOk(await api.get('/v1/models/stickers'), 200);
    expect(model).toMatchObject({ available: true, default: true, problem: null, latentShape: [4, 16, 16] });
  });

  it('a missing models folder stops the start, with its path and the variable', async () => {
    const missing = join(modelFolder, 'nowhere');
    const start = startApi({
      config: { ...api.config, modelFolders: [missing, MODELS] },
      redisUrl: 'redis://127.0.0.1:1',
      logger: pino({ level: 'silent' }),
    });
    await expect(start).rejects.toThrow(`${missing} can't be read`);
    await expect(start).rejects.toThrow('FINDERY_MODELS');
  });

  it('a read-only data folder stops the start', async () => {
    const file = join(modelFolder, 'file');
    await writeFile(file, '');
    const start = startApi({
      config: { ...api.config, dataFolder: file },
      redisUrl: 'redis://127.0.0.1:1',
      logger: pino({ level: 'silent' }),
    });
    await expect(start).rejects.toThrow(`${file}`);
    await rm(file);
  });

  it('an empty models folder lets the API start; requests are refused', async () => {
    const empty = join(api.folder, 'empty');
    await mkdir(empty);
    const bare = await startTestApi({ modelFolders: [empty] });
    try {
      const problem = await expectProblem(
        await bare.post('/v1/jobs', { prompt: PROMPT }),
        422,
        'unknown-model',
      );
      expect(problem.detail).toMatch(/No model is installed.*FINDERY_MODELS/);
    } finally {
      await bare.close();
    }
  });
});

it('leaves no record and no file', () => expectNothingStored(api));
