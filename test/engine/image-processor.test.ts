import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readPreprocessing } from '../../src/bundles/preprocessing.ts';
import { type GraphReward, readRewardBundle } from '../../src/bundles/reward-bundle.ts';
import type { Picture } from '../../src/core/picture.ts';
import { preprocess } from '../../src/engine/image-processor.ts';
import { decodeBytes, findPicture, fixture } from '../support/resample-fixture.ts';

const floats = (text: string) => new Float32Array(decodeBytes(text).buffer);

describe('preprocess', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'findery-preprocess-'));
  afterAll(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'model.onnx'), new Uint8Array(1000));

  it.each(fixture.prepared.map((one) => [one.picture, describeSteps(one.config), one] as const))(
    "gives transformers' pixel values for %s: %s",
    async (_name, _steps, { picture, config, shape, values }) => {
      await writeFile(join(folder, 'preprocessor_config.json'), JSON.stringify(config));
      const { preprocessing } = (await readRewardBundle(folder)) as GraphReward;
      const result = preprocess(findPicture(picture), preprocessing);
      expect([3, result.height, result.width]).toEqual(shape);
      const expected = floats(values);
      // Without rescaling, values are in the hundreds, where float32 is coarser by as much.
      const scale = config.do_rescale ? 1 : 1000;
      let worst = 0;
      for (const [i, value] of expected.entries())
        worst = Math.max(worst, Math.abs(result.values[i] - value) / scale);
      expect(result.values).toHaveLength(expected.length);
      expect(worst).toBeLessThan(1e-6);
    },
  );
});

function describeSteps(config: { readonly [key: string]: unknown }): string {
  const steps = [
    config.image_processor_type,
    config.do_resize && `resize to ${JSON.stringify(config.size)}, filter ${config.resample}`,
    config.do_center_crop && `crop to ${JSON.stringify(config.crop_size)}`,
    config.do_rescale && 'rescale',
    config.do_normalize && 'normalise',
  ];
  return steps.filter(Boolean).join(', ');
}

describe('a center crop', () => {
  /** One row of gray pixels: 10, 20 ... */
  const ramp = (width: number): Picture => ({
    width,
    height: 1,
    pixels: Uint8Array.from({ length: 3 * width }, (_, i) => 10 * (1 + Math.floor(i / 3))),
  });
  const cropped = (width: number, to: number, rounding: string) => {
    const config = { do_resize: false, do_center_crop: true, do_rescale: false, do_normalize: false };
    const steps = readPreprocessing({ ...config, crop_size: [1, to], crop_rounding: rounding });
    return [...preprocess(ramp(width), steps).values.subarray(0, to)];
  };

  // Results of CenterCrop (torchvision 0.29.2) and CLIPImageProcessorPil (transformers 5.23.0).
  it.each([
    [7, 4, [30, 40, 50, 60], [20, 30, 40, 50]],
    [5, 2, [30, 40], [20, 30]],
    [9, 4, [30, 40, 50, 60], [30, 40, 50, 60]],
    [6, 4, [20, 30, 40, 50], [20, 30, 40, 50]],
    [3, 6, [0, 10, 20, 30, 0, 0], [0, 0, 10, 20, 30, 0]],
    [4, 6, [0, 10, 20, 30, 40, 0], [0, 10, 20, 30, 40, 0]],
  ])(
    'of %i columns to %i starts where it does in torchvision and transformers',
    (width, to, torchvision, transformers) => {
      expect(cropped(width, to, 'nearest')).toEqual(torchvision);
      expect(cropped(width, to, 'floor')).toEqual(transformers);
    },
  );
});
