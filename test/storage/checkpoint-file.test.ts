import { describe, expect, it } from 'vitest';
import { decodeCheckpoint, encodeCheckpoint } from '../../src/storage/checkpoint-file.ts';
import { encodeSafetensors } from '../../src/storage/safetensors/encode.ts';

describe('a checkpoint file', () => {
  const state = {
    values: { iteration: 7, lineages: [{ c: 0.1 + 0.2, best: 3 }], note: null },
    tensors: {
      moments: Float64Array.of(Math.PI, -0, Number.MIN_VALUE, Number.NEGATIVE_INFINITY),
      noises: new Float32Array(Uint32Array.of(0x7fc00001, 0x80000000, 1).buffer),
      empty: new Float32Array(0),
    },
  };
  const progress = { iteration: 7, rewards: [[0.1, -1e-300]], seconds: 12.5 };

  it('restores its values bit for bit', () => {
    const back = decodeCheckpoint(encodeCheckpoint(state, progress));
    expect(back.progress).toEqual(progress);
    expect(back.state.values).toEqual(state.values);
    expect(Object.keys(back.state.tensors).sort()).toEqual(['empty', 'moments', 'noises']);
    for (const [name, before] of Object.entries(state.tensors)) {
      const after = back.state.tensors[name];
      expect(after.constructor).toBe(before.constructor);
      expect(Buffer.from(after.buffer, after.byteOffset, after.byteLength)).toEqual(
        Buffer.from(before.buffer, before.byteOffset, before.byteLength),
      );
    }
  });

  it('does not share memory with the decoded arrays', () => {
    const bytes = encodeCheckpoint(state, progress);
    const { moments } = decodeCheckpoint(bytes).state.tensors;
    bytes.fill(0);
    expect(moments[0]).toBe(Math.PI);
  });

  it('is not written with numbers that JSON can not represent', () => {
    expect(() => encodeCheckpoint(state, { rewards: [1, Number.NaN] })).toThrow('progress holds NaN at "1"');
    expect(() => encodeCheckpoint({ ...state, values: { best: Number.NEGATIVE_INFINITY } }, {})).toThrow(
      'values holds -Infinity at "best"',
    );
  });

  it('is not read from a file of another format', () => {
    expect(() => decodeCheckpoint(encodeSafetensors({}, { format: 'findery.policy' }))).toThrow(
      "The file's format is findery.policy, version missing; a checkpoint has findery.checkpoint, version 1.",
    );
  });
});
