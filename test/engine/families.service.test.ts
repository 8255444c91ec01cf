import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type ModelBundle, readModelBundle } from '../../src/bundles/model-bundle.ts';
import { DiffusionModel } from '../../src/engine/diffusion-model.ts';
import { createGenerationSpec, type GenerationSpec } from '../../src/engine/generation-spec.ts';
import { findScheduler } from '../../src/numerics/schedulers/registry.ts';
import {
  assemble,
  bundleNames,
  type Case,
  decodeFloats,
  FAMILIES,
  readFixture,
} from '../support/family-fixtures.ts';

const root = mkdtempSync(join(tmpdir(), 'findery-families-'));
afterAll(() => rmSync(root, { recursive: true }));
const options = { executionProviders: ['cpu'], threads: 2, batchSize: 2 };
const noPause = async () => {};

function specOf(model: ModelBundle, { call, scheduler, size: [width, height] }: Case): GenerationSpec {
  return createGenerationSpec({
    model,
    rewards: [],
    prompt: call.prompt,
    negativePrompt: call.negative_prompt ?? '',
    sampler: {
      scheduler: findScheduler(scheduler ?? model.defaults.scheduler).name,
      steps: call.num_inference_steps,
      guidanceScale: call.guidance_scale,
      eta: 0,
      clipSkip: call.clip_skip ?? 0,
      width,
      height,
    },
  });
}

/** The largest difference of any byte of the case's two pictures, 0 to 255. */
async function differenceOf(bundle: ModelBundle, model: DiffusionModel, one: Case): Promise<number> {
  const spec = specOf(bundle, one);
  const d = spec.latentShape.reduce((product, size) => product * size, 1);
  const latents = decodeFloats(one.latents);
  const stepNoises = one.stepNoises ? decodeFloats(one.stepNoises) : null;
  const noises = [0, 1].map((index) => ({
    key: { seed: 0, stream: 0, index },
    values: latents.slice(index * d, (index + 1) * d),
  }));
  const stepNoise = ({ index }: { index: number }, step: number) => {
    const start = (step * 2 + index) * d;
    return (stepNoises as Float32Array).slice(start, start + d);
  };
  const pictures = await model.generate(spec, noises, noPause, stepNoise);
  const expected = Buffer.from(one.picture, 'base64');
  const made = Buffer.concat(pictures.map(({ pixels }) => Buffer.from(pixels)));
  expect(pictures.map(({ width, height }) => [width, height])).toEqual([one.size, one.size]);
  expect(made).toHaveLength(expected.length);
  return made.reduce((worst, value, i) => Math.max(worst, Math.abs(value - expected[i])), 0);
}

describe.each(bundleNames())('%s', (name) => {
  const isHalf = name.endsWith('-fp16');
  const fixture = readFixture(name.replace('-fp16', ''));

  it(`makes the pictures of diffusers within ${isHalf ? 6 : 2}/255`, async () => {
    const bundle = await readModelBundle(assemble(name, root));
    // The fixture has no padding.
    for (const [i, ids] of Object.values(fixture.tokens).entries()) {
      const { inputIds } = bundle.tokenizers[i].encode(fixture.cases[0].call.prompt);
      expect(inputIds.slice(0, ids.length)).toEqual(ids);
    }
    const model = await DiffusionModel.open(bundle, options);
    try {
      for (const one of fixture.cases) {
        const what = `${JSON.stringify(one.call)}, ${one.scheduler}, ${one.size}`;
        expect(await differenceOf(bundle, model, one), what).toBeLessThanOrEqual(isHalf ? 6 : 2);
      }
    } finally {
      await model.release();
    }
  });
});

describe('a graph of another exporter may have', () => {
  const fixture = readFixture('sd15');
  const variants = join(FAMILIES, 'sd15-variants');

  /**
   * The largest difference with some graphs of the fp32 bundle replaced.
   * @param files [file of sd15-variants, path in the bundle]
   */
  async function differenceWith(
    files: readonly (readonly [string, string])[],
    cases = fixture.cases,
  ): Promise<number> {
    const folder = assemble('sd15', mkdtempSync(join(root, 'variant-')));
    for (const [from, to] of files) copyFileSync(join(variants, from), join(folder, to));
    const bundle = await readModelBundle(folder);
    const model = await DiffusionModel.open(bundle, options);
    try {
      let worst = 0;
      for (const one of cases) worst = Math.max(worst, await differenceOf(bundle, model, one));
      return worst;
    } finally {
      await model.release();
    }
  }

  it('a scalar timestep of type int64', async () => {
    expect(await differenceWith([['unet-int64-timestep.onnx', 'unet/model.onnx']])).toBeLessThanOrEqual(2);
  });

  it('a fixed batch size of 1', async () => {
    const files = ['unet', 'vae_decoder'].map((name) => [`${name}-batch1.onnx`, `${name}/model.onnx`]);
    expect(await differenceWith(files as [string, string][])).toBeLessThanOrEqual(2);
  });

  it('weights in a file beside the graph', async () => {
    const data = ['model.onnx_data', 'vae_decoder/model.onnx_data'] as const;
    const graph = ['vae_decoder-external.onnx', 'vae_decoder/model.onnx'] as const;
    expect(await differenceWith([graph, data], fixture.cases.slice(0, 1))).toBeLessThanOrEqual(2);
    await expect(differenceWith([graph])).rejects.toThrow(
      /vae_decoder.*keeps its weights in model\.onnx_data, which is not beside it/,
    );
  });
});

describe('the error for a bundle with wrong graphs', () => {
  const open = async (folder: string) => DiffusionModel.open(await readModelBundle(folder), options);
  const copy = (name: string) => assemble(name, mkdtempSync(join(root, 'wrong-')));

  it('names the text encoder in the place of the other', async () => {
    const folder = copy('sdxl');
    const [first, second] = ['text_encoder', 'text_encoder_2'].map((name) =>
      join(folder, name, 'model.onnx'),
    );
    copyFileSync(first, `${first}.original`);
    copyFileSync(second, first);
    await expect(open(folder)).rejects.toThrow(
      /text_encoder.model\.onnx makes vectors of 24 numbers.*hidden_size 16/,
    );
    copyFileSync(`${first}.original`, second);
    copyFileSync(`${first}.original`, first);
    await expect(open(folder)).rejects.toThrow(/text_encoder_2.model\.onnx has no output "text_embeds"/);
  });

  it("names the inputs of another family's denoiser", async () => {
    const folder = copy('sd15');
    copyFileSync(
      join(assemble('sdxl', mkdtempSync(join(root, 'other-'))), 'unet/model.onnx'),
      join(folder, 'unet/model.onnx'),
    );
    await expect(open(folder)).rejects.toThrow(
      /unet.model\.onnx wants text_embeds, time_ids besides sample, timestep/,
    );
  });

  it('names the output that a clipSkip needs', async () => {
    const bundle = await readModelBundle(copy('sd21-v'));
    const model = await DiffusionModel.open(bundle, options);
    const [one] = readFixture('sd21-v').cases;
    const asked = { ...one, call: { ...one.call, clip_skip: 4 } };
    await expect(differenceOf(bundle, model, asked)).rejects.toThrow(
      /no output "clip_skip\.4".*Use a smaller clipSkip/,
    );
    await model.release();
  });
});
