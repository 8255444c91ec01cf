import { mkdtempSync, rmSync } from 'node:fs';
import { copyFile, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ort from 'onnxruntime-node';
import { afterAll, describe, expect, it } from 'vitest';
import { readModelBundle } from '../../src/bundles/model-bundle.ts';
import { DiffusionModel } from '../../src/engine/diffusion-model.ts';
import { OutOfMemoryError } from '../../src/engine/errors.ts';
import { createGenerationSpec } from '../../src/engine/generation-spec.ts';
import type { Feeds, Graph } from '../../src/engine/graphs/graph.ts';
import { fixSizes, readHeader } from '../../src/engine/graphs/onnx-file.ts';
import { openGraph } from '../../src/engine/graphs/onnx-graph.ts';
import { openSizedGraph } from '../../src/engine/graphs/sized-graph.ts';
import { largestDifference } from '../support/engine.ts';
import { assemble, FAMILIES } from '../support/family-fixtures.ts';

const root = mkdtempSync(join(tmpdir(), 'findery-sized-'));
afterAll(() => rmSync(root, { recursive: true }));
const options = { executionProviders: ['cpu'], threads: 2, batchSize: 2 };
const UNET = join(FAMILIES, 'sd15', 'unet', 'model.onnx');

/** Inputs of the UNet for one picture of `side` latents in width and height. */
function feedsOf(side: number): Feeds {
  const numbers = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i));
  return {
    sample: { type: 'float32', dims: [1, 4, side, side], data: numbers(4 * side * side) },
    timestep: { type: 'float32', dims: [1], data: Float32Array.of(7) },
    encoder_hidden_states: { type: 'float32', dims: [1, 77, 16], data: numbers(77 * 16) },
  };
}

describe('the header of an ONNX file', () => {
  it.each(['sd15/unet', 'sd15/text_encoder', 'sd15-fp16/vae_decoder', 'sd3/transformer', 'flux/transformer'])(
    'is what ONNX Runtime reads: %s',
    async (graph) => {
      const path = join(FAMILIES, graph, 'model.onnx');
      const session = await ort.InferenceSession.create(path);
      const { inputs, outputs } = readHeader(await readFile(path));
      const described = (values: readonly ort.InferenceSession.ValueMetadata[]) =>
        values.map((value) => value.isTensor && [value.name, value.type, value.shape]);
      expect(inputs.map(({ name, type, shape }) => [name, type, shape])).toEqual(
        described(session.inputMetadata),
      );
      expect(outputs.map(({ name, type }) => [name, type])).toEqual(
        described(session.outputMetadata).map((value) => (value || []).slice(0, 2)),
      );
    },
  );

  it('is refused in a file that is none', () => {
    expect(() => readHeader(Buffer.from('not a graph'))).toThrow(RangeError);
    expect(() => readHeader(Buffer.alloc(0))).toThrow(RangeError);
  });

  it('leaves nothing to compute about shapes once all sizes are fixed', async () => {
    const model = await readFile(UNET);
    const nodes = async (sizes: { readonly [name: string]: number }) => {
      const optimizedModelFilePath = join(root, 'optimized.onnx');
      await ort.InferenceSession.create(fixSizes(model, sizes), {
        optimizedModelFilePath,
        logSeverityLevel: 4,
      });
      return (await readFile(optimizedModelFilePath, 'latin1')).split('\x22\x05Shape').length - 1;
    };
    const picture = { height: 8, width: 8, tokens: 77 };
    expect(await nodes(picture)).toBeGreaterThan(10);
    expect(await nodes({ ...picture, batch: 16 })).toBe(0);
  });

  it('has the sizes that were fixed, and no others', async () => {
    const fixed = fixSizes(await readFile(UNET), { height: 8, width: 300, other: 3 });
    const session = await ort.InferenceSession.create(fixed);
    expect(session.inputMetadata.map((value) => value.isTensor && value.shape)).toEqual([
      ['batch', 4, 8, 300],
      ['batch'],
      ['batch', 'tokens', 16],
    ]);
  });
});

describe('a model with a session for each size', () => {
  it.each(['sd15', 'sdxl', 'sd3', 'flux', 'sd15-fp16'])(
    'makes the same pictures but for rounding, also of another size, and again to the bit: %s',
    async (name) => {
      const bundle = await readModelBundle(assemble(name, mkdtempSync(join(root, 'families-'))));
      const noises = [0, 1].map((index) => ({ key: { seed: 3, stream: 0, index } }));
      const sampler = { ...bundle.defaults, steps: 2, eta: 0 };
      const specs = [1, 2, 1].map((factor) =>
        createGenerationSpec({
          model: bundle,
          rewards: [],
          prompt: 'a green dog',
          negativePrompt: '',
          sampler: { ...sampler, width: 64 * factor, height: 64 },
        }),
      );
      const generate = async (fixSizes: boolean) => {
        const model = await DiffusionModel.open(bundle, { ...options, fixSizes });
        const pictures = [];
        for (const spec of specs) pictures.push(...(await model.generate(spec, noises, async () => {})));
        await model.release();
        return pictures;
      };
      const [sized, plain] = [await generate(true), await generate(false)];
      // With fixed sizes, ONNX Runtime has the CPU add in another order.
      for (const [i, { pixels }] of sized.entries())
        expect(largestDifference(pixels, plain[i].pixels)).toBeLessThanOrEqual(2);
      expect(sized.slice(4)).toEqual(sized.slice(0, 2));
    },
  );

  it('finds weights beside the graph', async () => {
    for (const file of ['model.onnx_data', 'vae_decoder-external.onnx'])
      await copyFile(join(FAMILIES, 'sd15-variants', file), join(root, file));
    const path = join(root, 'vae_decoder-external.onnx');
    const latents = { type: 'float32', dims: [1, 4, 8, 8], data: new Float32Array(256).fill(0.5) } as const;
    const [plain, sized] = await Promise.all([
      openGraph(path, options),
      openGraph(path, { ...options, fixSizes: true }),
    ]);
    const run = (graph: Graph) => graph.run({ latent_sample: latents }, ['sample']);
    const [values, expected] = [(await run(sized)).sample, (await run(plain)).sample];
    expect(values).toHaveLength(expected.length);
    for (const [i, value] of values.entries()) expect(value).toBeCloseTo(expected[i], 4);
  });
});

describe('the sessions of a graph', () => {
  /** The UNet, with a record of the sizes that were opened and closed. */
  async function openRecorded(run: (graph: Graph, height: number) => Graph['run'] = (graph) => graph.run) {
    const events: string[] = [];
    const header = readHeader(await readFile(UNET));
    const graph = openSizedGraph(UNET, header, async ({ height }) => {
      events.push(`open ${height}`);
      const opened = await openGraph(UNET, options);
      const release = async () => {
        events.push(`close ${height}`);
        await opened.release();
      };
      return { ...opened, run: run(opened, height), release };
    });
    return { graph, events };
  }

  it('are at most four; the one that was not used for longest is closed', async () => {
    const { graph, events } = await openRecorded();
    for (const side of [8, 16, 24, 32, 8, 40, 8]) await graph.run(feedsOf(side), ['out_sample']);
    expect(events.slice(4)).toEqual(['close 16', 'open 40']);
    await graph.release();
    expect(events.slice(6).sort()).toEqual(['close 24', 'close 32', 'close 40', 'close 8']);
  });

  it('leave their memory to a run that needs it', async () => {
    let isFull = false;
    const { graph, events } = await openRecorded((opened) => async (feeds, wanted) => {
      if (isFull && !events.includes('close 8')) throw new OutOfMemoryError('out of memory');
      return opened.run(feeds, wanted);
    });
    await graph.run(feedsOf(8), ['out_sample']);
    isFull = true;
    expect(await graph.run(feedsOf(16), ['out_sample'])).toHaveProperty('out_sample');
    expect(events).toEqual(['open 8', 'open 16', 'close 8']);
  });

  it('report that memory ran out when there is nothing to close', async () => {
    const { graph } = await openRecorded(() => async () => {
      throw new OutOfMemoryError('out of memory');
    });
    await expect(graph.run(feedsOf(8), ['out_sample'])).rejects.toThrow(OutOfMemoryError);
  });
});
