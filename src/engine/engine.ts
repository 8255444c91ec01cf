import { Worker } from 'node:worker_threads';
import type { ModelBundle } from '../bundles/model-bundle.ts';
import { smallestPictureSize } from '../bundles/model-sampler.ts';
import type { GraphReward } from '../bundles/reward-bundle.ts';
import type { ImagePipeline } from '../core/evaluator.ts';
import type { Sampler } from '../core/sampler.ts';
import { paddedSizes } from './batch-sizes.ts';
import { DeviceLostError, EngineError, OutOfMemoryError } from './errors.ts';
import { createGenerationSpec, type GenerationSpec, modelSpec, rewardSpec } from './generation-spec.ts';
import { findOtherRuntime } from './graphs/native-libraries.ts';
import type { Device } from './graphs/providers.ts';
import type { Measurements } from './measurements.ts';
import type {
  BatchLimit,
  BatchRun,
  DenoiserLoad,
  EngineOptions,
  EngineState,
  FailureKind,
  Request,
  Response,
} from './messages.ts';

/** What an image pipeline is opened for. */
export interface PipelineRequest {
  readonly model: ModelBundle;
  /** Rewards that the pipeline computes; none: pictures only. */
  readonly rewards: readonly GraphReward[];
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly sampler: Sampler;
  /** Whether to warm up what was not warmed up yet; true by default. */
  readonly warmUp?: boolean;
  /** Number of noises for whose runs to warm up, on GPUs; by default every batch size. */
  readonly warmUpCount?: number;
  /** Called once per `evaluate` with the batches that the engine ran. */
  readonly onBatches?: (batches: readonly BatchRun[]) => void;
  /** Called once per `evaluate` with the start of its first denoising step, ms since 1970. */
  readonly onStart?: (at: number) => void;
}

interface Pending {
  resolve(response: Response & { type: 'done' }): void;
  reject(error: Error): void;
  onStart?: (at: number) => void;
}

/**
 * Runs diffusion models and rewards in a thread, which holds all sessions. Graph runs block their
 * thread, and this one has to renew locks and answer requests meanwhile. Noises are packed into
 * graph runs of at most `batchSize`.
 */
export class Engine {
  readonly #thread: Worker;
  /** The hardware that graphs run on. */
  readonly device: Device;
  /** Called with what the thread has measured, before each of its answers. */
  onMeasurements: (measurements: Measurements) => void = () => {};
  readonly #batchSize: number;
  readonly #pending = new Map<number, Pending>();
  #state: EngineState = {
    loaded: [],
    reducedBatches: [],
    graphMilliseconds: 0,
    measurements: { stages: [], fills: [] },
    denoiserLoad: { runs: 0, noises: 0, places: 0 },
  };
  #lastId = 0;
  #death: Error | null = null;
  #closing: Promise<void> | null = null;
  readonly #died = Promise.withResolvers<Error>();
  /** Resolves with the reason if the thread ends before `close` is called. */
  readonly died: Promise<Error> = this.#died.promise;

  private constructor(thread: Worker, device: Device, batchSize: number) {
    this.#thread = thread;
    this.device = device;
    this.#batchSize = batchSize;
    thread.on('message', (response: Response) => this.#receive(response));
    thread.on('error', (error) =>
      this.#die(new Error(`The engine's thread died (${error.message}); start the worker again.`)),
    );
    thread.on('exit', (code) => {
      const unexpected = `The engine's thread ended by itself (exit code ${code}); start the worker again.`;
      this.#die(new Error(this.#closing ? 'The engine is closed.' : unexpected));
    });
  }

  /**
   * Starts an engine on the first execution provider that works.
   * @param onNotice called with messages for operators, such as a provider that cannot be used,
   *   or a batch size that was reduced because memory ran out
   * @throws EngineError with the reason of each provider if none works, or if another ONNX Runtime
   *   is in the way
   */
  static async start(
    options: EngineOptions,
    onNotice: (message: string) => void = () => {},
  ): Promise<Engine> {
    const otherRuntime = await findOtherRuntime();
    if (otherRuntime !== null) throw new EngineError(`Graphs can't be run: ${otherRuntime}.`);
    const thread = new Worker(new URL('./thread.ts', import.meta.url), {
      workerData: options,
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    const first = await new Promise<Response>((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
      thread.once('exit', (code) =>
        reject(new Error(`The engine's thread ended at its start (exit code ${code}).`)),
      );
    });
    if (first.type !== 'ready')
      throw first.type === 'unusable' ? toError(first) : new Error(`Unexpected: ${first.type}`);
    const { device } = first;
    if (device.passedOver.length > 0)
      onNotice(
        `Graphs run on ${device.name}, because the providers before it in FINDERY_PROVIDERS can't be used. ` +
          `${device.passedOver.join('. ')}.`,
      );
    thread.on('message', (response: Response) => response.type === 'notice' && onNotice(response.message));
    return new Engine(thread, device, options.batchSize);
  }

  /**
   * Opens a model and rewards.
   * @param options `warmUp` also runs them, so that the first job is as fast as later ones: on
   *   the CPU one small picture; on providers that choose kernels for each shape, every batch size
   *   at the model's default picture size. `beforeEach` is awaited before the graphs are opened and
   *   before each of the sizes, so that other work can go first.
   * @returns the batch sizes that were run
   * @throws EngineError if a graph cannot be opened or does not fit its place in the folder; what
   *   `beforeEach` throws
   */
  async open(
    model: ModelBundle,
    rewards: readonly GraphReward[],
    options: { readonly warmUp: boolean; readonly beforeEach?: () => Promise<void> },
  ): Promise<readonly number[]> {
    await options.beforeEach?.();
    await this.#ask({ type: 'open', model: modelSpec(model), rewards: rewards.map(rewardSpec) });
    if (!options.warmUp) return [];
    const { reward: _, ...defaults } = model.defaults;
    const sampler = { ...defaults, eta: 0 };
    const request = { model, rewards, prompt: 'warm', negativePrompt: '', sampler };
    const sizes = new Set<number>();
    for (const warmUpCount of paddedSizes(this.#batchSize)) {
      await options.beforeEach?.();
      const { warmed } = await this.#prepare({ ...request, warmUpCount });
      for (const size of warmed) sizes.add(size);
    }
    return [...sizes];
  }

  /** Models and picture sizes with a reduced batch size, because memory ran out. */
  reducedBatches(): readonly BatchLimit[] {
    return this.#state.reducedBatches;
  }

  /** Milliseconds that the thread has spent in graph runs. */
  graphMilliseconds(): number {
    return this.#state.graphMilliseconds;
  }

  /** How full the runs of denoisers were. */
  denoiserLoad(): DenoiserLoad {
    return this.#state.denoiserLoad;
  }

  /** Names of the models and rewards in memory. */
  loaded(): string[] {
    return [...this.#state.loaded];
  }

  /**
   * Prepares a pipeline for one prompt. Opens and warms up what `open` would.
   * @throws EngineError as `open` does
   */
  async pipeline(request: PipelineRequest): Promise<ImagePipeline> {
    const { spec, embedding } = await this.#prepare(request);
    return {
      shape: spec.latentShape,
      promptEmbedding: embedding,
      evaluate: async (noises, { scores, pictures, signal }) => {
        signal?.throwIfAborted();
        const cancel = new SharedArrayBuffer(4);
        const work = this.#ask({ type: 'evaluate', spec, noises, scores, pictures, cancel }, request.onStart);
        const answer = signal ? await untilAborted(work, signal, cancel) : await work;
        request.onBatches?.(answer.batches ?? []);
        return noises.map((_, i) => ({
          scores: scores ? (answer.scores ?? []).map((scoresOfReward) => scoresOfReward[i]) : null,
          picture: answer.pictures?.[i] ?? null,
        }));
      },
    };
  }

  async #prepare(
    request: PipelineRequest,
  ): Promise<{ spec: GenerationSpec; embedding: Float32Array; warmed: readonly number[] }> {
    const spec = createGenerationSpec(request);
    const warmUp =
      request.warmUp === false
        ? null
        : {
            spec: createGenerationSpec({ ...request, sampler: this.#warmUpSampler(request) }),
            count: request.warmUpCount ?? null,
          };
    const { embedding = new Float32Array(), warmed = [] } = await this.#ask({ type: 'embed', spec, warmUp });
    return { spec, embedding, warmed };
  }

  /**
   * Two steps are enough. On the CPU a warm-up only has to read the weights in, which it does at
   * any picture size; on GPUs kernels are chosen for the very size.
   */
  #warmUpSampler({ model, sampler }: PipelineRequest): Sampler {
    const { width, height } = this.device.provider === 'cpu' ? smallestPictureSize(model) : sampler;
    return { ...sampler, width, height, scheduler: model.defaults.scheduler, steps: 2, eta: 0 };
  }

  /** Waits for the current graph run, then frees everything. Later calls are rejected. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#death) return;
    const ended = new Promise((resolve) => this.#thread.once('exit', resolve));
    await this.#ask({ type: 'close' });
    await ended;
  }

  #ask(request: WithoutId<Request>, onStart?: (at: number) => void): Promise<Response & { type: 'done' }> {
    if (this.#death) return Promise.reject(this.#death);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onStart });
      this.#thread.postMessage({ ...request, id });
    });
  }

  #receive(response: Response): void {
    if (response.type === 'state') {
      this.#state = response.state;
      this.onMeasurements(response.state.measurements);
    }
    const pending = 'id' in response ? this.#pending.get(response.id) : undefined;
    if (!pending || !('id' in response)) return;
    if (response.type === 'started') {
      pending.onStart?.(response.at);
      return;
    }
    this.#pending.delete(response.id);
    if (response.type === 'failed') pending.reject(toError(response));
    else pending.resolve(response);
  }

  #die(error: Error): void {
    this.#death ??= error;
    if (!this.#closing) this.#died.resolve(this.#death);
    for (const pending of this.#pending.values()) pending.reject(this.#death);
    this.#pending.clear();
  }
}

/** `Omit` for each member of a union. */
type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;

/** Rejects as soon as the signal is aborted. The thread stops before its next graph run. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal, cancel: SharedArrayBuffer): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => {
    Atomics.store(new Int32Array(cancel), 0, 1);
    reject(signal.reason);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    work.catch(() => {}); // An aborted evaluation fails later, with no one to handle it.
  }
}

/** A failure in the thread as the error that it was there. */
function toError({ kind, message }: { readonly kind: FailureKind; readonly message: string }): Error {
  if (kind === 'memory') return new OutOfMemoryError(message);
  if (kind === 'device') return new DeviceLostError(message);
  return kind === 'engine' ? new EngineError(message) : new Error(message);
}
