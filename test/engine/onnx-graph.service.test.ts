import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readCatalog } from '../../src/bundles/catalog.ts';
import { Engine } from '../../src/engine/engine.ts';
import { graphForProvider } from '../../src/engine/graphs/onnx-graph.ts';
import { EMBEDDED } from '../support/bundle-copies.ts';

const root = await mkdtemp(join(tmpdir(), 'findery-onnx-graph-'));
afterAll(() => rm(root, { recursive: true }));
const options = { executionProviders: ['cpu'], threads: 2, batchSize: 2 };

describe('a fused graph beside the plain one', () => {
  it('is used on CUDA only', async () => {
    await cp(join(EMBEDDED, 'stickers'), join(root, 'fused', 'stickers'), { recursive: true });
    const unet = join(root, 'fused', 'stickers', 'unet', 'model.onnx');
    const fused = join(root, 'fused', 'stickers', 'unet', 'model_cuda.onnx');
    expect(await graphForProvider(unet, 'cuda')).toBe(unet);
    await writeFile(fused, 'not a graph, so the CPU cannot open it');
    expect(await graphForProvider(unet, 'cuda')).toBe(fused);
    for (const provider of ['tensorrt', 'webgpu', 'cpu'])
      expect(await graphForProvider(unet, provider)).toBe(unet);

    const { models, problems } = await readCatalog([join(root, 'fused')]);
    expect(problems).toEqual([]);
    const engine = await Engine.start(options);
    await engine.open(models[0], [], { warmUp: true });
    await engine.close();
  });

  it('must not take its weights from another folder', async () => {
    await cp(join(EMBEDDED, 'stickers'), join(root, 'outside', 'stickers'), { recursive: true });
    const location = Buffer.from('\x0a\x08location\x12\x0c../weights.x', 'latin1');
    await writeFile(join(root, 'outside', 'stickers', 'unet', 'model_cuda.onnx'), location);
    const { models, problems } = await readCatalog([join(root, 'outside')]);
    expect(models).toEqual([]);
    expect(problems[0].message).toMatch(/unet\/model_cuda\.onnx takes its weights from \.\.\/weights\.x/);
  });
});
