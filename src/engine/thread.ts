import { setImmediate as nextTurn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import type { Picture } from '../core/picture.ts';
import { BatchSizes } from './batch-size.ts';
import { DiffusionModel } from './diffusion-model.ts';
import { CanceledError, EngineError, isOutOfMemory, OutOfMemoryError } from './graphs/engine-error.ts';
import { graphMilliseconds } from './graphs/graph.ts';
import { GraphCache } from './graphs/graph-cache.ts';
import { notice } from './graphs/notice.ts';
import { chooseDevice, shorten } from './graphs/providers.ts';
import type {
  EngineOptions,
  FailureKind,
  GenerationSpec,
  ModelSpec,
  Request,
  Response,
  RewardSpec,
} from './messages.ts';
import { RewardModel } from './reward-model.ts';
import { WarmUp } from './warm-up.ts';

/**
 * The engine's thread: holds the sessions and does the work, a batch at a time. Requests take turns batch by batch, so one
 * picture does not wait for another request's hundred. A graph run blocks this thread; messages are read between runs.
 */
const given = workerData as EngineOptions;
const port = parentPort as NonNullable<typeof parentPort>;
const device = await chooseDevice(given.executionProviders, given.deviceId ?? 0).catch((error: unknown) => {
  port.postMessage({ type: 'unusable', ...failureOf(error) } satisfies Response);
  process.exit(1); // of this thread alone
});
/** With the provider in use before whatever is left behind it. */
const options: EngineOptions = {
  ...given,
  executionProviders: given.executionProviders.slice(given.executionProviders.indexOf(device.provider)),
};
const batches = new BatchSizes(options);
const warmUp = new WarmUp(batches);
const models = new GraphCache<DiffusionModel>(options.modelsInMemory);
const rewards = new GraphCache<RewardModel>(options.modelsInMemory);

interface Task {
  readonly id: number;
  /** Does a part of the work; true when all of it is done and answered. */
  advance(): Promise<boolean>;
}
const tasks: Task[] = [];
let isWorking = false;

port.on('message', (request: Request) => {
  tasks.push({ id: request.id, advance: taskOf(request) });
  if (!isWorking) void work();
});

port.postMessage({ type: 'ready', device } satisfies Response);

async function work(): Promise<void> {
  isWorking = true;
  for (let task = tasks.shift(); task; task = tasks.shift()) {
    try {
      if (!(await task.advance())) tasks.push(task);
    } catch (error) {
      send({ type: 'failed', id: task.id, ...failureOf(error) });
    }
    await nextTurn();
  }
  isWorking = false;
}

function taskOf(request: Request): () => Promise<boolean> {
  switch (request.type) {
    case 'evaluate':
      return evaluation(request);
    case 'open':
      return async () => {
        await openAll(request.model, request.rewards);
        send({ type: 'done', id: request.id });
        return true;
      };
    case 'embed':
      return async () => {
        const { spec, warm } = request;
        const { model, rewards } = warm
          ? await openAll(spec.model, spec.rewards)
          : await openAll(spec.model, []);
        const makeRoom = (size: number, error: unknown) => afterOutOfMemory(warm ?? spec, size, error);
        const warmed = warm ? await warmUp.run(model, rewards, warm, makeRoom) : [];
        send({ type: 'done', id: request.id, embedding: await model.embedPrompt(spec), warmed });
        return true;
      };
    case 'close':
      return async () => {
        await models.release();
        await rewards.release();
        send({ type: 'done', id: request.id });
        tasks.length = 0;
        port.close();
        return true;
      };
  }
}

function evaluation(request: Request & { type: 'evaluate' }): () => Promise<boolean> {
  const { id, spec, noises } = request;
  const canceled = new Int32Array(request.cancel);
  const scores: number[][] = spec.rewards.map(() => []);
  const pictures: (Picture | null)[] = [];
  const runs: number[] = [];
  let started = false;
  const betweenRuns = async () => {
    await nextTurn();
    if (Atomics.load(canceled, 0) !== 0) throw new CanceledError();
    if (!started) send({ type: 'started', id, at: Date.now() });
    started = true;
  };
  const advance = async (batch: typeof noises, size: number) => {
    const { model, rewards: opened } = await openAll(spec.model, request.scores ? spec.rewards : []);
    const made = await model.generate(spec, fill(batch, size), betweenRuns);
    const rated: number[][] = [];
    for (const [i, reward] of opened.entries()) {
      await betweenRuns();
      rated.push(await reward.score(made, spec.rewardTexts[i]));
    }
    runs.push(size);
    // Nothing counts before all of it is there: a batch that runs out of memory is done over.
    for (const [i, column] of rated.entries()) scores[i].push(...column.slice(0, batch.length));
    pictures.push(...made.slice(0, batch.length).map((picture) => (request.pictures ? picture : null)));
  };
  return async () => {
    const batch = noises.slice(pictures.length, pictures.length + batches.limit(spec));
    if (batch.length > 0) {
      const size = batches.sizeFor(batch.length, spec);
      await advance(batch, size).catch((error: unknown) => {
        if (!isOutOfMemory(error)) throw error;
        return afterOutOfMemory(spec, size, error);
      });
    }
    if (pictures.length < noises.length) return false;
    send(
      { type: 'done', id, scores, pictures, runs },
      pictures.flatMap((picture) => (picture ? [picture.pixels.buffer as ArrayBuffer] : [])),
    );
    return true;
  };
}

/** A batch of a size that a provider has tuned itself for; what comes of the copies is thrown away. */
function fill<T>(batch: readonly T[], size: number): readonly T[] {
  return Array.from({ length: size }, (_, i) => batch[Math.min(i, batch.length - 1)]);
}

/**
 * Makes another try possible after a run of `size` draws for which the memory did not suffice: smaller runs, else no other models beside.
 * @throws OutOfMemoryError when there is nothing left to give up
 */
async function afterOutOfMemory(spec: GenerationSpec, size: number, error: unknown): Promise<void> {
  const what = `${spec.model.name} at ${spec.width}x${spec.height}`;
  const reason = shorten((error as Error).message);
  if (size > 1) {
    const limit = batches.halve(size, spec);
    notice(
      `${what}: ${size} draws in one graph run need more memory than there is; from now on at most ${limit}. ${reason}`,
    );
    return;
  }
  if (await closeOthers([spec.model], spec.rewards)) {
    notice(`${what}: one draw needs more memory than there is; other models were closed for it. ${reason}`);
    return;
  }
  throw new OutOfMemoryError(
    `${what} needs more memory than there is on ${device.name}, even for one draw at a time (${reason}). Ask for smaller pictures, take a float16 or smaller model, or a worker with more memory.`,
  );
}

async function closeOthers(
  keptModels: readonly ModelSpec[],
  keptRewards: readonly RewardSpec[],
): Promise<boolean> {
  const closed = [await models.releaseOthers(keptModels), await rewards.releaseOthers(keptRewards)];
  return closed.includes(true);
}

/** Opened where they are not yet; others are closed when there is no room beside them. */
async function openAll(
  model: ModelSpec,
  wanted: readonly RewardSpec[],
): Promise<{ model: DiffusionModel; rewards: RewardModel[] }> {
  const open = async () => {
    const opened: RewardModel[] = [];
    const diffusion = await models.get(model, () => DiffusionModel.open(model, options));
    for (const reward of wanted)
      opened.push(await rewards.get(reward, () => RewardModel.open(reward, options)));
    return { model: diffusion, rewards: opened };
  };
  return open().catch(async (error: unknown) => {
    if (!isOutOfMemory(error) || !(await closeOthers([model], wanted))) throw error;
    notice(`${model.name}: there was no memory to open it beside other models; they were closed.`);
    return open();
  });
}

function failureOf(error: unknown): { readonly message: string; readonly kind: FailureKind } {
  const message = error instanceof Error ? error.message : String(error);
  return {
    message,
    kind: isOutOfMemory(error) ? 'memory' : error instanceof EngineError ? 'engine' : 'other',
  };
}

function send(response: Response, transfer: ArrayBuffer[] = []): void {
  if (response.type !== 'started') {
    const loaded = [...models.names(), ...rewards.names()];
    const state = { loaded, reducedBatches: batches.reduced(), graphMilliseconds: graphMilliseconds() };
    port.postMessage({ type: 'state', state } satisfies Response);
  }
  port.postMessage(response, transfer);
}
