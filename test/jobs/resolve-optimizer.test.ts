import { describe, expect, it } from 'vitest';
import { deviceParameters, resolveOptimizer, settleParameters } from '../../src/jobs/resolve-optimizer.ts';

describe('the batch size of gp', () => {
  it('is left to the device unless the request has one', () => {
    expect(deviceParameters({ name: 'gp' })).toEqual(['batchSize']);
    expect(deviceParameters({ name: 'gp', c: 0.9 })).toEqual(['batchSize']);
    expect(deviceParameters({ name: 'gp', batchSize: 4 })).toEqual([]);
    expect(deviceParameters({ name: 'find' })).toEqual([]);
  });

  it('is set by the provider that starts the job, and by nothing else of the worker', () => {
    const optimizer = resolveOptimizer({ name: 'gp', c: 0.9 });
    expect(optimizer).toMatchObject({ batchSize: 4, c: 0.9 });
    expect(settleParameters(optimizer, ['batchSize'], 'cpu')).toEqual(optimizer);
    for (const provider of ['cuda', 'webgpu'])
      expect(settleParameters(optimizer, ['batchSize'], provider)).toEqual({ ...optimizer, batchSize: 8 });
  });

  it('stays once it was set', () => {
    const optimizer = resolveOptimizer({ name: 'gp', batchSize: 5 });
    expect(settleParameters(optimizer, [], 'cuda')).toEqual(optimizer);
  });
});
