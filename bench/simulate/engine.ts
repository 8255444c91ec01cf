import type { ImagePipeline } from '../../src/core/evaluator.ts';
import type { WorkerEngine } from '../../workers/worker.ts';
import type { SimulatedClock } from './clock.ts';
import { type SimulatedJob, uniform } from './workload.ts';

/** Latents of the smallest useful size: the simulation measures queues, not optimizers. */
const SHAPE = [1, 2, 2];

/**
 * An engine that takes simulated time and makes no pictures. A noise's score depends on its key
 * alone.
 * @param onStart called with the prompt when the first evaluation of a pipeline begins
 */
export function simulatedEngine(
  clock: SimulatedClock,
  onStart: (prompt: string) => SimulatedJob,
): WorkerEngine {
  return {
    device: { provider: 'cpu', name: 'simulated', passedOver: [] },
    died: new Promise(() => {}),
    reducedBatches: () => [],
    loaded: () => [],
    close: async () => {},
    async pipeline({ prompt, rewards }): Promise<ImagePipeline> {
      let job: SimulatedJob | undefined;
      return {
        shape: SHAPE,
        promptEmbedding: new Float32Array(4),
        async evaluate(noises, { scores, signal }) {
          signal?.throwIfAborted();
          job ??= onStart(prompt);
          await Promise.race([clock.sleep(noises.length * job.secondsPerImage), aborted(signal)]);
          return noises.map(({ key: { seed, stream, index } }) => ({
            scores: scores ? rewards.map(() => uniform(seed, index, stream)) : null,
            picture: null,
          }));
        },
      };
    },
  };
}

/** Rejects when the signal is aborted. */
function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
