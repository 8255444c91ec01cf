import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Engine } from '../../src/engine/engine.ts';
import {
  BOTH,
  ENGINE_OPTIONS,
  evaluate,
  model,
  noisesAt,
  pipelineRequest,
  range,
  reward,
  SAMPLER,
} from '../support/engine.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start(ENGINE_OPTIONS);
  await engine.open(model, [reward], { warmUp: true });
});
afterAll(() => engine.close());

// Retried, because a busy machine can slow one of the two down.
it('a guidance scale of 1 halves the time, because the UNet sees each latent once', {
  retry: 2,
}, async () => {
  const timeOf = async (guidanceScale: number) => {
    const sampler = { ...SAMPLER, steps: 6, guidanceScale };
    const pipeline = await engine.pipeline(pipelineRequest({ sampler }));
    const began = performance.now();
    await pipeline.evaluate(noisesAt(...range(8)), { scores: false, pictures: true });
    return performance.now() - began;
  };
  const [four, one] = [await timeOf(4), await timeOf(1)];
  expect(one / four).toBeLessThan(0.75);
});

it('an aborted evaluation rejects at once with the reason, and the engine stops working on it', async () => {
  const pipeline = await engine.pipeline(pipelineRequest({ sampler: { ...SAMPLER, steps: 50 } }));
  const abort = new AbortController();
  const reason = new Error('enough');
  const running = pipeline.evaluate(noisesAt(...range(40)), { ...BOTH, signal: abort.signal });
  await sleep(150);
  const aborted = performance.now();
  abort.abort(reason);
  await expect(running).rejects.toBe(reason);
  expect(performance.now() - aborted).toBeLessThan(1000);

  const [{ scores }] = await evaluate(engine, noisesAt(0));
  expect(scores).toEqual([expect.any(Number)]);
  // Forty pictures of fifty steps would have taken much longer.
  expect(performance.now() - aborted).toBeLessThan(10_000);
});

// Retried, because a busy machine can block the event loop, too.
it('an evaluation never blocks the event loop of the caller for 100 ms', { retry: 2 }, async () => {
  const pipeline = await engine.pipeline(pipelineRequest());
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  await pipeline.evaluate(noisesAt(...range(16)), BOTH);
  delay.disable();
  expect(delay.count).toBeGreaterThan(10);
  expect(delay.max / 1e6).toBeLessThan(100);
});

it('an engine closed during a run ends within seconds, and rejects this and later runs', async () => {
  const closing = await Engine.start(ENGINE_OPTIONS);
  const pipeline = await closing.pipeline(pipelineRequest());
  const running = pipeline.evaluate(noisesAt(...range(16)), BOTH).then(
    (all) => all.length,
    (error: Error) => error.message,
  );
  await sleep(100);
  const began = performance.now();
  await closing.close();
  expect(performance.now() - began).toBeLessThan(3000);
  expect(await running).toBe('The engine is closed.');
  await expect(pipeline.evaluate(noisesAt(0), BOTH)).rejects.toThrow('The engine is closed.');
  await expect(closing.pipeline(pipelineRequest())).rejects.toThrow('The engine is closed.');
  await closing.close();
});
