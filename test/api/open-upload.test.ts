import { describe, expect, it } from 'vitest';
import { MAX_INLINE_BYTES, openUpload } from '../../src/api/policies/open-upload.ts';
import { sha256Of } from '../../src/sha256.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';

/** A policy file of one Gaussian over as many numbers. */
function policyFile(numbers: number, mean = 0.5): Uint8Array {
  return encodePolicy(
    {
      shape: [numbers],
      mean: new Float32Array(numbers).fill(mean),
      std: Float32Array.of(1),
      weights: Float32Array.of(1),
    },
    { prompt: 'a dog' },
  );
}
const LARGE = MAX_INLINE_BYTES / 4;

describe('openUpload', () => {
  it.each([
    ['a small file here', 16, false],
    ['a large file in a thread, to which its bytes move', LARGE, true],
  ])('reads %s', async (_, numbers, isMoved) => {
    const sent = policyFile(numbers);
    const copy = sent.slice();
    const { file, content, metadata } = await openUpload(sent);
    expect(sent.byteLength === 0).toBe(isMoved);
    expect(Buffer.compare(file, copy)).toBe(0);
    expect(metadata).toEqual({ prompt: 'a dog' });
    expect(content).toEqual({
      distribution: { kind: 'gaussian', components: 1, shape: [numbers] },
      bytes: copy.byteLength,
      sha256: sha256Of(copy),
    });
  });

  it('reads a large file whose buffer holds something else too', async () => {
    const whole = policyFile(LARGE);
    const padded = new Uint8Array(whole.length + 8);
    padded.set(whole, 8);
    expect((await openUpload(padded.subarray(8))).content.sha256).toBe(sha256Of(whole));
    expect(padded.byteLength).toBe(whole.length + 8);
  });

  it('refuses a large file with the same problem as a small one, and reads the next one', async () => {
    const files = [policyFile(16), policyFile(LARGE), policyFile(LARGE)];
    for (const file of files.slice(0, 2)) file.fill(0xff, -4);
    const [small, large, good] = await Promise.allSettled(files.map(openUpload));
    expect(small).toMatchObject({ reason: { code: 'bad-policy-file' } });
    expect(large).toMatchObject({ reason: { code: 'bad-policy-file', message: expect.any(String) } });
    expect(good.status).toBe('fulfilled');
  });
});
