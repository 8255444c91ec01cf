import { describe, expect, it } from 'vitest';
import { readPreprocessing } from '../../src/bundles/preprocessing.ts';

describe('readPreprocessing rejects a config', () => {
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
    [{ image_std: [1, 0, 1] }, /image_std \[1,0,1\]; it takes numbers other than 0/],
    [{ image_mean: 0.5 }, /image_mean 0\.5; it takes three numbers/],
  ])('with %j', (changes, message) => {
    expect(() => readPreprocessing({ ...config, ...changes })).toThrow(message);
  });
});
