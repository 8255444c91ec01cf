import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ort from 'onnxruntime-node';
import { afterAll, describe, expect, it } from 'vitest';
import { listCpuNodes, takeProfile } from '../../src/engine/graphs/placement.ts';
import { EMBEDDED } from '../support/bundle-copies.ts';

const root = await mkdtemp(join(tmpdir(), 'findery-placement-'));
afterAll(() => rm(root, { recursive: true }));

describe('listCpuNodes', () => {
  it('lists the nodes that did real work on the CPU, not those that compute shapes', async () => {
    const prefix = join(root, 'profile');
    const session = await ort.InferenceSession.create(join(EMBEDDED, 'stickers/vae_decoder/model.onnx'), {
      enableProfiling: true,
      profileFilePrefix: prefix,
    });
    await session.run({
      latent_sample: new ort.Tensor('float32', new Float32Array(4 * 16 * 16), [1, 4, 16, 16]),
    });
    session.endProfiling();
    const profile = String(await takeProfile(prefix));
    await session.release();
    expect(listCpuNodes(profile).join()).toMatch(/Conv \(\d+\)/);
    expect(listCpuNodes(profile.replaceAll('CPUExecutionProvider', 'CUDAExecutionProvider'))).toEqual([]);
    const small = profile.replaceAll(/"output_size" : "\d+"/g, '"output_size" : "16"');
    expect(listCpuNodes(small)).toEqual([]);
    // The profile was deleted.
    expect(await takeProfile(prefix)).toBeNull();
  });
});
