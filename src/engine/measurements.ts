import { graphMilliseconds } from './graphs/onnx-graph.ts';

/** What the engine does for a batch of noises, in this order. */
export type EngineStage = 'text' | 'denoise' | 'decode' | 'reward';

/** One stage of one batch. */
export interface StageTime {
  readonly stage: EngineStage;
  /** Name of the model; for `reward`, of the reward. */
  readonly name: string;
  readonly seconds: number;
}

/** How full a batch was. */
export interface BatchFill {
  readonly model: string;
  /** Pictures in the batch, without padding. */
  readonly pictures: number;
  /** The batch size limit of the model at this picture size. */
  readonly limit: number;
}

/** What the engine's thread measured since its last message. */
export interface Measurements {
  readonly stages: readonly StageTime[];
  readonly fills: readonly BatchFill[];
}

/** Nobody takes the measurements where there is no engine's thread. */
const MAX_KEPT = 10_000;

let stages: StageTime[] = [];
let fills: BatchFill[] = [];

/** Measures a stage. One that ran no graph is left out: its result was cached. */
export async function measureStage<T>(stage: EngineStage, name: string, work: () => Promise<T>): Promise<T> {
  const [began, graphsBefore] = [performance.now(), graphMilliseconds()];
  const result = await work();
  if (graphMilliseconds() > graphsBefore) recordStage(stage, name, performance.now() - began);
  return result;
}

/** Remembers the time of a stage. */
export function recordStage(stage: EngineStage, name: string, milliseconds: number): void {
  if (stages.length < MAX_KEPT) stages.push({ stage, name, seconds: milliseconds / 1000 });
}

/** Remembers how full a batch was. */
export function measureFill(fill: BatchFill): void {
  if (fills.length < MAX_KEPT) fills.push(fill);
}

/** Runs a warm-up: it is not measured, because first runs choose kernels and allocate memory. */
export async function withoutMeasuring<T>(warmUp: () => Promise<T>): Promise<T> {
  const kept = [stages, fills] as const;
  [stages, fills] = [[], []];
  try {
    return await warmUp();
  } finally {
    [stages, fills] = kept;
  }
}

/** The measurements since the last call. */
export function takeMeasurements(): Measurements {
  const taken = { stages, fills };
  [stages, fills] = [[], []];
  return taken;
}
