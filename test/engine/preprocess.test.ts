import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readPreprocessing } from '../../src/bundles/preprocessing.ts';
import { type GraphReward, readRewardBundle } from '../../src/bundles/reward-bundle.ts';
import type { Picture } from '../../src/core/picture.ts';
import { preprocess } from '../../src/engine/preprocess.ts';
import { type Filter, resample } from '../../src/engine/resample.ts';

/** Written by tools/parity/make_resample_fixture.py. */
interface Fixture {
  readonly pictures: readonly {
    readonly name: string;
    readonly width: number;
    readonly height: number;
    readonly pixels: string;
  }[];
  readonly resized: readonly {
    readonly picture: string;
    readonly filter: Filter;
    readonly width: number;
    readonly height: number;
    readonly pixels: string;
  }[];
  readonly prepared: readonly {
    readonly picture: string;
    readonly config: { readonly [key: string]: unknown };
    readonly shape: readonly [number, number, number];
    readonly values: string;
  }[];
}

const fixture: Fixture = JSON.parse(
  readFileSync(new URL('../fixtures/resample.json', import.meta.url), 'utf8'),
);
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
const floats = (text: string) => new Float32Array(bytes(text).buffer);

function findPicture(name: string): Picture {
  const found = fixture.pictures.find((picture) => picture.name === name);
  if (!found) throw new Error(`The fixture has no picture "${name}".`);
  return { width: found.width, height: found.height, pixels: bytes(found.pixels) };
}

describe("resample gives Pillow's very bytes", () => {
  const cases = fixture.resized.map((one) => {
    const { width, height } = findPicture(one.picture);
    return [`${one.picture} ${width}x${height} to ${one.width}x${one.height}, ${one.filter}`, one] as const;
  });
  it.each(cases)('%s', (_, { picture, filter, width, height, pixels }) => {
    const result = resample(findPicture(picture), width, height, filter);
    expect([result.width, result.height]).toEqual([width, height]);
    expect(Buffer.from(result.pixels).equals(bytes(pixels))).toBe(true);
  });

  it('and leaves its input alone', () => {
    const picture = findPicture('noise');
    const before = picture.pixels.slice();
    resample(picture, 5, 7, 'bicubic');
    resample(picture, 24, 7, 'bilinear');
    expect(picture.pixels).toEqual(before);
  });
});

describe("preprocess gives transformers' pixel values", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'findery-preprocess-'));
  afterAll(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'model.onnx'), new Uint8Array(1000));

  it.each(fixture.prepared.map((one) => [one.picture, describeSteps(one.config), one] as const))(
    '%s: %s',
    async (_name, _steps, { picture, config, shape, values }) => {
      await writeFile(join(folder, 'preprocessor_config.json'), JSON.stringify(config));
      const { preprocessing } = (await readRewardBundle(folder)) as GraphReward;
      const result = preprocess(findPicture(picture), preprocessing);
      expect([3, result.height, result.width]).toEqual(shape);
      const expected = floats(values);
      // Without rescaling values are some hundreds, where float32 is that much coarser.
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

describe('a crop begins', () => {
  /** Grey columns, the first 10, the second 20 ... */
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

  // As CenterCrop of torchvision 0.29.2 and CLIPImageProcessorPil of transformers 5.23.0 gave them.
  it.each([
    [7, 4, [30, 40, 50, 60], [20, 30, 40, 50]],
    [5, 2, [30, 40], [20, 30]],
    [9, 4, [30, 40, 50, 60], [30, 40, 50, 60]],
    [6, 4, [20, 30, 40, 50], [20, 30, 40, 50]],
    [3, 6, [0, 10, 20, 30, 0, 0], [0, 0, 10, 20, 30, 0]],
    [4, 6, [0, 10, 20, 30, 40, 0], [0, 10, 20, 30, 40, 0]],
  ])(
    'with %i columns cut to %i where torchvision and transformers let it begin',
    (width, to, torchvision, transformers) => {
      expect(cropped(width, to, 'nearest')).toEqual(torchvision);
      expect(cropped(width, to, 'floor')).toEqual(transformers);
    },
  );
});

describe('a preprocessor_config.json is refused', () => {
  const config = { image_mean: [0, 0, 0], image_std: [1, 1, 1] };
  it.each([
    [{ resample: 5 }, /resample 5; it takes 0 \(nearest\)/],
    [{ size: {} }, /size \{\}; it takes a number, \[height, width\], shortest_edge, longest_edge/],
    [{ size: { longest_edge: 0 } }, /size \{"longest_edge":0\}/],
    [{ size: { shortest_edge: 9, longest_edge: 9 } }, /size \{"shortest_edge":9,"longest_edge":9\}/],
    [{ size: { height: 224 } }, /size \{"height":224\}/],
    [{ size: -1 }, /size -1/],
    [{ do_center_crop: true }, /crop_size undefined; it takes/],
    [{ do_center_crop: true, crop_size: { height: 1.5, width: 2 } }, /crop_size \{"height":1\.5/],
    [{ crop_rounding: 'up' }, /crop_rounding "up"; it takes "floor" or "nearest"/],
    [{ rescale_factor: '1/255' }, /rescale_factor "1\/255"; it takes a number/],
    [{ image_std: [1, 0, 1] }, /image_std \[1,0,1\]; it takes numbers that can be divided by/],
    [{ image_mean: 0.5 }, /image_mean 0\.5; it takes three numbers/],
  ])('with %j', (changes, message) => {
    expect(() => readPreprocessing({ ...config, ...changes })).toThrow(message);
  });
});
