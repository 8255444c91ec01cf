import { Worker } from 'node:worker_threads';
import type { ModelBundle } from '../bundles/model-bundle.ts';
import type { GraphReward } from '../bundles/reward-bundle.ts';
import type { ImagePipeline } from '../core/evaluator.ts';
import { EngineError, OutOfMemoryError } from './graphs/engine-error.ts';
import type { Device } from './graphs/providers.ts';
import type {
  BatchLimit,
  EngineOptions,
  EngineState,
  FailureKind,
  GenerationSpec,
  ModelSpec,
  Request,
  Response,
  RewardSpec,
} from './messages.ts';

/** What a image pipeline is for. */
export interface PipelineRequest {
  readonly model: ModelBundle;
  /** None: pictures only. */
  readonly rewards: readonly GraphReward[];
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly sampler: {
    readonly scheduler: string;
    readonly steps: number;
    readonly guidanceScale: number;
    readonly eta: number;
    readonly clipSkip?: number;
    readonly width: number;
    readonly height: number;
  };
  /** Whether what was not run yet is run before the image pipeline is there; true when left out. */
  readonly warmUp?: boolean;
  /** Told once for each `evaluate`: the draws in each of its graph runs, with those that only filled it up. */
  readonly onRuns?: (sizes: readonly number[]) => void;
  /** Told once for each `evaluate`: when its first denoising step began, milliseconds since 1970. */
  readonly onStart?: (at: number) => void;
}

interface Pending {
  resolve(response: Response & { type: 'done' }): void;
  reject(error: Error): void;
  onStart?: (at: number) => void;
}

/**
 * Runs diffusion models and rewards in a thread of its own, which holds all sessions: graph runs block their thread, and
 * this one has locks to renew and requests to answer. Draws are packed into graph runs of at most `batchSize`.
 */
export class Engine {
  readonly #thread: Worker;
  /** Where graphs run. */
  readonly device: Device;
  readonly #pending = new Map<number, Pending>();
  #state: EngineState = { loaded: [], reducedBatches: [], graphMilliseconds: 0 };
  #lastId = 0;
  #death: Error | null = null;
  #closing: Promise<void> | null = null;
  readonly #died = Promise.withResolvers<Error>();
  /** Resolves with the reason when the thread ends without having been asked to. */
  readonly died: Promise<Error> = this.#died.promise;

  private constructor(thread: Worker, device: Device) {
    this.#thread = thread;
    this.device = device;
    thread.on('message', (response: Response) => this.#receive(response));
    thread.on('error', (error) =>
      this.#die(new Error(`The engine's thread died (${error.message}); start the worker again.`)),
    );
    thread.on('exit', (code) => {
      const unasked = `The engine's thread ended by itself (exit code ${code}); start the worker again.`;
      this.#die(new Error(this.#closing ? 'The engine is closed.' : unasked));
    });
  }

  /**
   * Starts one on the first of the execution providers that works here.
   * @param onNotice told what operators should know: a provider that is not to be had, smaller batches for want of memory
   * @throws EngineError when none works, with the reason of each
   */
  static async start(
    options: EngineOptions,
    onNotice: (message: string) => void = () => {},
  ): Promise<Engine> {
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
      throw first.type === 'unusable' ? failure(first) : new Error(`Unexpected: ${first.type}`);
    const { device } = first;
    if (device.passedOver.length > 0)
      onNotice(
        `Graphs run on ${device.name}, since what FINDERY_PROVIDERS names before it can't be used. ${device.passedOver.join('. ')}.`,
      );
    thread.on('message', (response: Response) => response.type === 'notice' && onNotice(response.message));
    return new Engine(thread, device);
  }

  /**
   * Opens a model and rewards; `warmUp` runs them, so that the first job does not pay for it: one small picture on the CPU, every batch size at the
   * model's own picture size where kernels are chosen for each shape.
   * @returns the batch sizes that were run
   * @throws EngineError when a graph can't be opened or is not what its folder says
   */
  async open(
    model: ModelBundle,
    rewards: readonly GraphReward[],
    { warmUp }: { readonly warmUp: boolean },
  ): Promise<readonly number[]> {
    await this.#ask({ type: 'open', model: modelSpec(model), rewards: rewards.map(rewardSpec) });
    if (!warmUp) return [];
    const { reward: _, ...sampler } = { ...model.defaults, eta: 0 };
    const { warmed } = await this.#prepare({ model, rewards, prompt: 'warm', negativePrompt: '', sampler });
    return warmed;
  }

  /** Where runs have fewer draws than configured, since more did not fit into memory. */
  reducedBatches(): readonly BatchLimit[] {
    return this.#state.reducedBatches;
  }

  /** Milliseconds that its thread has spent in runs of graphs. */
  graphMilliseconds(): number {
    return this.#state.graphMilliseconds;
  }

  /** Names of the models and rewards in memory. */
  loaded(): string[] {
    return [...this.#state.loaded];
  }

  /**
   * Pictures and scores for a prompt. Opens what is not open yet, and warms it up as `open` does.
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
        request.onRuns?.(answer.runs ?? []);
        return noises.map((_, i) => ({
          scores: scores ? (answer.scores ?? []).map((column) => column[i]) : null,
          picture: answer.pictures?.[i] ?? null,
        }));
      },
    };
  }

  async #prepare(
    request: PipelineRequest,
  ): Promise<{ spec: GenerationSpec; embedding: Float32Array; warmed: readonly number[] }> {
    const { model } = request;
    const spec = generationSpec(request);
    // Kernels are chosen for each shape on GPUs alone; the CPU has the first touch of the weights to do, at any size.
    const size = this.device.provider === 'cpu' ? smallestSize(model) : request.sampler;
    const sampler = {
      ...request.sampler,
      width: size.width,
      height: size.height,
      scheduler: model.defaults.scheduler,
      steps: 2,
      eta: 0,
    };
    const warm = request.warmUp === false ? null : generationSpec({ ...request, sampler });
    const { embedding = new Float32Array(), warmed = [] } = await this.#ask({ type: 'embed', spec, warm });
    return { spec, embedding, warmed };
  }

  /** Lets the current graph run end, then frees everything. */
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

  #ask(request: Unnumbered, onStart?: (at: number) => void): Promise<Response & { type: 'done' }> {
    if (this.#death) return Promise.reject(this.#death);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onStart });
      this.#thread.postMessage({ ...request, id });
    });
  }

  #receive(response: Response): void {
    if (response.type === 'state') this.#state = response.state;
    const pending = 'id' in response ? this.#pending.get(response.id) : undefined;
    if (!pending || !('id' in response)) return;
    if (response.type === 'started') {
      pending.onStart?.(response.at);
      return;
    }
    this.#pending.delete(response.id);
    if (response.type === 'failed') pending.reject(failure(response));
    else pending.resolve(response);
  }

  #die(error: Error): void {
    this.#death ??= error;
    if (!this.#closing) this.#died.resolve(this.#death);
    for (const pending of this.#pending.values()) pending.reject(this.#death);
    this.#pending.clear();
  }
}

type Unnumbered = Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never;

/** Rejects as soon as the signal is aborted, and tells the thread, which stops before its next graph run. */
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
    work.catch(() => {}); // nobody waits for it any more
  }
}

/** An error of the thread's, as it was there. */
function failure({ kind, message }: { readonly kind: FailureKind; readonly message: string }): Error {
  if (kind === 'memory') return new OutOfMemoryError(message);
  return kind === 'engine' ? new EngineError(message) : new Error(message);
}

/** Everything that the thread has to know to paint. */
function generationSpec({
  model,
  rewards,
  prompt,
  negativePrompt,
  sampler,
}: PipelineRequest): GenerationSpec {
  return {
    model: modelSpec(model),
    rewards: rewards.map(rewardSpec),
    promptIds: model.tokenizers.map((tokenizer) => tokenizer.encode(prompt).inputIds),
    negativePromptIds: model.tokenizers.map((tokenizer) => tokenizer.encode(negativePrompt).inputIds),
    negativeIsEmpty: negativePrompt === '',
    clipSkip: sampler.clipSkip ?? 0,
    rewardTexts: rewards.map(({ tokenizer }) => tokenizer?.encode(prompt) ?? null),
    scheduler: sampler.scheduler,
    steps: sampler.steps,
    guidanceScale: sampler.guidanceScale,
    eta: sampler.eta,
    width: sampler.width,
    height: sampler.height,
    latentShape: model.latentShape(sampler.width, sampler.height),
  };
}

/** The smallest pictures of a model that make sense to try it with. */
export function smallestSize({ sizes, sizeMultiple }: ModelBundle): { width: number; height: number } {
  const side = Math.ceil(64 / sizeMultiple) * sizeMultiple;
  const [width, height] = sizes?.[0] ?? [side, side];
  return { width, height };
}

/** What of a bundle can be sent to the thread: all but its functions and what only others read. */
function modelSpec({ tokenizers: _, latentShape: __, ...model }: ModelBundle): ModelSpec {
  return model;
}

function rewardSpec({ name, path, signature, graph, preprocessing, scoring }: GraphReward): RewardSpec {
  return { name, path, signature, graph, preprocessing, scoring };
}
