import { Counter, Gauge, Histogram } from '@prometheus-io/client';
import type { RewardChoice } from '../../src/contract/schemas/common.ts';
import type { Report } from '../../src/contract/schemas/policy.ts';
import type { Measurements } from '../../src/engine/measurements.ts';
import { openRegistry, renderMetrics } from '../../src/metrics/registry.ts';

/** Upper bounds in seconds, from one graph run of a small model to many steps of a large one. */
const STAGE_BUCKETS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300];
const FILL_BUCKETS = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1];
const GAIN_BUCKETS = [-1, -0.5, -0.25, 0, 0.25, 0.5, 1, 1.5, 2, 3];

/** Label of a reward that is a list of terms. */
const WEIGHTED_SUM = 'weighted-sum';

/** State of a worker that is read when it is scraped. */
export interface WorkerState {
  /** Ids of the jobs and samples that it works on. */
  current(): Iterable<string>;
  /** Models and rewards in memory. */
  loaded(): number;
}

/** What one worker measures. */
export class WorkerMetrics {
  readonly #registry = openRegistry('worker');
  readonly #registers = [this.#registry];
  readonly #images = new Counter({
    name: 'findery_images_total',
    help: 'Images that were made, those of searches and reports included.',
    labelNames: ['model'],
    registers: this.#registers,
  });
  readonly #stages = new Histogram({
    name: 'findery_stage_duration_seconds',
    help: 'Time of one stage of a batch: text, denoise, decode, reward; or of storing one file: store.',
    labelNames: ['stage', 'subject'],
    buckets: STAGE_BUCKETS,
    registers: this.#registers,
  });
  readonly #fill = new Histogram({
    name: 'findery_batch_fill_ratio',
    help: 'Pictures in a batch, divided by the largest batch size.',
    labelNames: ['model'],
    buckets: FILL_BUCKETS,
    registers: this.#registers,
  });
  readonly #gain = new Histogram({
    name: 'findery_reward_gain_deviations',
    help: 'Mean reward of a policy minus that of N(0, I), in standard deviations under N(0, I).',
    labelNames: ['model', 'reward'],
    buckets: GAIN_BUCKETS,
    registers: this.#registers,
  });

  /** Adds what the engine's thread measured. */
  addMeasurements({ stages, fills }: Measurements): void {
    for (const { stage, name, seconds } of stages) this.#stages.observe({ stage, subject: name }, seconds);
    for (const { model, pictures, limit } of fills) this.#fill.observe({ model }, pictures / limit);
  }

  /** Adds images that were made. */
  addImages(model: string, images: number): void {
    this.#images.inc({ model }, images);
  }

  /** Adds the result of a job. */
  addReport(model: string, choice: RewardChoice, { base, gain, draws }: Report): void {
    const deviation = base.standardError * Math.sqrt(draws);
    if (deviation === 0) return;
    const reward = typeof choice === 'string' ? choice : WEIGHTED_SUM;
    this.#gain.observe({ model, reward }, gain.mean / deviation);
  }

  /** Measures a stage outside of the engine. One that fails is left out. */
  async time<T>(stage: 'reward' | 'store', subject: string, work: () => Promise<T>): Promise<T> {
    const began = performance.now();
    const result = await work();
    this.#stages.observe({ stage, subject }, (performance.now() - began) / 1000);
    return result;
  }

  /** Exports the state of the worker. */
  watch(state: WorkerState): void {
    const registers = this.#registers;
    new Gauge({
      name: 'findery_worker_active_entries',
      help: 'Jobs, and batches of samples, that this worker has.',
      labelNames: ['queue'],
      registers,
      collect() {
        const ids = [...state.current()];
        const samples = ids.filter((id) => id.startsWith('smp_')).length;
        this.set({ queue: 'optimize' }, ids.length - samples);
        this.set({ queue: 'sample' }, samples);
      },
    });
    new Gauge({
      name: 'findery_worker_loaded_bundles',
      help: 'Models and rewards in the memory of this worker.',
      registers,
      collect() {
        this.set(state.loaded());
      },
    });
  }

  /**
   * Exports the memory of the graphics card.
   * @param read the latest reading in bytes; null: there is none
   */
  watchGpu(read: () => { readonly used: number; readonly total: number } | null): void {
    for (const part of ['used', 'total'] as const)
      new Gauge({
        name: `findery_gpu_memory_${part}_bytes`,
        help: part === 'used' ? 'Memory of the card in use, by all processes.' : 'Memory of the card.',
        registers: this.#registers,
        collect() {
          const memory = read();
          if (memory) this.set(memory[part]);
          else this.remove();
        },
      });
  }

  /** All metrics of the worker and its process, in Prometheus' text format. */
  render(): Promise<string> {
    return renderMetrics(this.#registry);
  }
}
