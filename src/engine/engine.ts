import { Worker } from 'node:worker_threads';
import type { ModelBundle } from '../bundles/model-bundle.ts';
import type { GraphReward } from '../bundles/reward-bundle.ts';
import type { Painter } from '../search/generator.ts';
import { EngineError } from './engine-error.ts';
import type { EngineOptions, GenerationSpec, ModelSpec, Request, Response, RewardSpec } from './messages.ts';

/** What a painter is for. */
export interface PainterRequest {
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
  readonly #isCpu: boolean;
  readonly #pending = new Map<number, Pending>();
  #loaded: readonly string[] = [];
  #lastId = 0;
  #death: Error | null = null;
  #closing: Promise<void> | null = null;
  readonly #died = Promise.withResolvers<Error>();
  /** Resolves with the reason when the thread ends without having been asked to. */
  readonly died: Promise<Error> = this.#died.promise;

  private constructor(thread: Worker, isCpu: boolean) {
    this.#thread = thread;
    this.#isCpu = isCpu;
    thread.on('message', (response: Response) => this.#receive(response));
    thread.on('error', (error) =>
      this.#die(new Error(`The engine's thread died (${error.message}); start the worker again.`)),
    );
    thread.on('exit', (code) => {
      const unasked = `The engine's thread ended by itself (exit code ${code}); start the worker again.`;
      this.#die(new Error(this.#closing ? 'The engine is closed.' : unasked));
    });
  }

  static async start(options: EngineOptions): Promise<Engine> {
    const thread = new Worker(new URL('./thread.ts', import.meta.url), {
      workerData: options,
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    await new Promise<void>((resolve, reject) => {
      thread.once('online', resolve);
      thread.once('error', reject);
    });
    return new Engine(thread, options.executionProviders[0] === 'cpu');
  }

  /**
   * Opens a model and rewards; `warmUp` makes one picture, so that the first job does not pay for it.
   * @throws EngineError when a graph can't be opened or is not what its folder says
   */
  async open(
    model: ModelBundle,
    rewards: readonly GraphReward[],
    { warmUp }: { readonly warmUp: boolean },
  ): Promise<void> {
    await this.#ask({ type: 'open', model: modelSpec(model), rewards: rewards.map(rewardSpec) });
    if (!warmUp) return;
    // Kernels are chosen for each shape on GPUs alone; the CPU has the first touch of the weights to do, at any size.
    const size = this.#isCpu ? smallestSize(model) : {};
    const { reward: _, ...sampler } = { ...model.defaults, ...size, steps: 2, eta: 0 };
    const painter = await this.painter({ model, rewards, prompt: 'warm', negativePrompt: '', sampler });
    await painter.evaluate([{ draw: { seed: 0, stream: 0, index: 0 } }], { scores: true, pictures: false });
  }

  /** Names of the models and rewards in memory. */
  loaded(): string[] {
    return [...this.#loaded];
  }

  /**
   * Pictures and scores for a prompt. Opens what is not open yet.
   * @throws EngineError as `open` does
   */
  async painter(request: PainterRequest): Promise<Painter> {
    const { model, rewards, sampler } = request;
    const spec: GenerationSpec = {
      model: modelSpec(model),
      rewards: rewards.map(rewardSpec),
      promptIds: model.tokenizers.map((tokenizer) => tokenizer.encode(request.prompt).inputIds),
      negativePromptIds: model.tokenizers.map((tokenizer) => tokenizer.encode(request.negativePrompt).inputIds),
      negativeIsEmpty: request.negativePrompt === '',
      clipSkip: sampler.clipSkip ?? 0,
      rewardTexts: rewards.map(({ tokenizer }) => tokenizer?.encode(request.prompt) ?? null),
      scheduler: sampler.scheduler,
      steps: sampler.steps,
      guidanceScale: sampler.guidanceScale,
      eta: sampler.eta,
      width: sampler.width,
      height: sampler.height,
      latentShape: model.latentShape(sampler.width, sampler.height),
    };
    const { embedding } = await this.#ask({ type: 'embed', spec });
    return {
      shape: spec.latentShape,
      promptEmbedding: embedding ?? new Float32Array(),
      evaluate: async (draws, { scores, pictures, signal }) => {
        signal?.throwIfAborted();
        const cancel = new SharedArrayBuffer(4);
        const work = this.#ask({ type: 'evaluate', spec, draws, scores, pictures, cancel }, request.onStart);
        const answer = signal ? await untilAborted(work, signal, cancel) : await work;
        return draws.map((_, i) => ({
          scores: scores ? (answer.scores ?? []).map((column) => column[i]) : null,
          picture: answer.pictures?.[i] ?? null,
        }));
      },
    };
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
    const pending = this.#pending.get(response.id);
    if (!pending) return;
    if (response.type === 'started') {
      pending.onStart?.(response.at);
      return;
    }
    this.#pending.delete(response.id);
    if (response.type === 'done' && response.loaded) this.#loaded = response.loaded;
    if (response.type === 'done') pending.resolve(response);
    else pending.reject(response.known ? new EngineError(response.message) : new Error(response.message));
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
