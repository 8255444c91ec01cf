import { setImmediate as nextTurn } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { drawsPerRun } from './batch-size.ts';
import { DiffusionModel } from './diffusion-model.ts';
import { CanceledError, EngineError } from './engine-error.ts';
import type { EngineOptions, ModelSpec, RawPicture, Request, Response, RewardSpec } from './messages.ts';
import { OpenGraphs } from './open-graphs.ts';
import { RewardModel } from './reward-model.ts';

/**
 * The engine's thread: holds the sessions and does the work, a batch at a time. Requests take turns batch by batch, so one
 * picture does not wait for another request's hundred. A graph run blocks this thread; messages are read between runs.
 */
const options = workerData as EngineOptions;
const port = parentPort as NonNullable<typeof parentPort>;
const models = new OpenGraphs<DiffusionModel>(options.modelsInMemory);
const rewards = new OpenGraphs<RewardModel>(options.modelsInMemory);

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

async function work(): Promise<void> {
  isWorking = true;
  for (let task = tasks.shift(); task; task = tasks.shift()) {
    try {
      if (!(await task.advance())) tasks.push(task);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      send({ type: 'failed', id: task.id, message, known: error instanceof EngineError });
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
        await openModel(request.model);
        for (const reward of request.rewards) await openReward(reward);
        send({ type: 'done', id: request.id });
        return true;
      };
    case 'embed':
      return async () => {
        const model = await openModel(request.spec.model);
        send({ type: 'done', id: request.id, embedding: await model.embedPrompt(request.spec) });
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
  const { id, spec, draws } = request;
  const canceled = new Int32Array(request.cancel);
  const scores: number[][] = spec.rewards.map(() => []);
  const pictures: (RawPicture | null)[] = [];
  let started = false;
  const betweenRuns = async () => {
    await nextTurn();
    if (Atomics.load(canceled, 0) !== 0) throw new CanceledError();
    if (!started) send({ type: 'started', id, at: Date.now() });
    started = true;
  };
  return async () => {
    const model = await openModel(spec.model);
    const batch = draws.slice(pictures.length, pictures.length + drawsPerRun(options, spec));
    if (batch.length > 0) {
      const made = await model.generate(spec, pad(batch), betweenRuns);
      for (const [i, reward] of (request.scores ? spec.rewards : []).entries()) {
        await betweenRuns();
        const rated = await (await openReward(reward)).score(made, spec.rewardTexts[i]);
        scores[i].push(...rated.slice(0, batch.length));
      }
      pictures.push(...made.slice(0, batch.length).map((picture) => (request.pictures ? picture : null)));
    }
    if (pictures.length < draws.length) return false;
    send(
      { type: 'done', id, scores, pictures },
      pictures.flatMap((picture) => (picture ? [picture.pixels.buffer as ArrayBuffer] : [])),
    );
    return true;
  };
}

/** A batch of the one size that a provider has tuned itself for; what comes of the copies is thrown away. */
function pad<T>(batch: readonly T[]): readonly T[] {
  const { batchSize, padBatches = options.executionProviders[0] !== 'cpu' } = options;
  return padBatches ? Array.from({ length: batchSize }, (_, i) => batch[Math.min(i, batch.length - 1)]) : batch;
}

function openModel(spec: ModelSpec): Promise<DiffusionModel> {
  return models.get(spec, () => DiffusionModel.open(spec, options));
}

function openReward(spec: RewardSpec): Promise<RewardModel> {
  return rewards.get(spec, () => RewardModel.open(spec, options));
}

function send(response: Response, transfer: ArrayBuffer[] = []): void {
  const loaded = [...models.names(), ...rewards.names()];
  port.postMessage(response.type === 'done' ? { ...response, loaded } : response, transfer);
}
