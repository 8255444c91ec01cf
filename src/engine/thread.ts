import { parentPort, workerData } from 'node:worker_threads';
import { BatchSizes } from './batch-sizes.ts';
import { denoiserLoad } from './denoiser.ts';
import { DiffusionModel } from './diffusion-model.ts';
import {
  DeviceLostError,
  EngineError,
  isOutOfMemory,
  OutOfMemoryError,
  withoutSourceLocations,
} from './errors.ts';
import type { EvaluationServices } from './evaluation.ts';
import { EvaluationQueue } from './evaluation-queue.ts';
import type { GenerationSpec, ModelSpec, RewardSpec } from './generation-spec.ts';
import { GraphCache } from './graphs/graph-cache.ts';
import { graphMilliseconds } from './graphs/onnx-graph.ts';
import { chooseDevice } from './graphs/providers.ts';
import { takeMeasurements, withoutMeasuring } from './measurements.ts';
import { type EngineOptions, type FailureKind, postNotice, type Request, type Response } from './messages.ts';
import { RewardModel } from './reward-model.ts';
import { type Task, TaskQueue } from './task-queue.ts';
import { WarmUp } from './warm-up.ts';

// The engine's thread: it holds the sessions and works on tasks batch by batch, round robin, so
// that one picture does not wait for another request's hundred. A task is a request, or the
// denoising that several requests share. A graph run blocks this thread; messages are received
// between runs.

const configured = workerData as EngineOptions;
const port = parentPort as NonNullable<typeof parentPort>;
const device = await chooseDevice(configured.executionProviders, configured.deviceId ?? 0).catch(
  (error: unknown) => {
    port.postMessage({ type: 'unusable', ...toFailure(error) } satisfies Response);
    process.exit(1); // Ends this thread only.
  },
);
/** The configured options, without the providers before the one in use. */
const options: EngineOptions = {
  ...configured,
  executionProviders: configured.executionProviders.slice(
    configured.executionProviders.indexOf(device.provider),
  ),
};
const batchSizes = new BatchSizes(options);
const warmUp = new WarmUp(batchSizes);
const models = new GraphCache<DiffusionModel>(options.modelsInMemory);
const rewards = new GraphCache<RewardModel>(options.modelsInMemory);

const services: EvaluationServices = {
  batchSizes,
  open: openAll,
  recover: recoverFromOutOfMemory,
  send,
  fail: (id, error) => send({ type: 'failed', id, ...toFailure(error) }),
};
const tasks = new TaskQueue(services.fail);
const evaluations = new EvaluationQueue(services, tasks);

port.on('message', (request: Request) => {
  if (request.type === 'evaluate') evaluations.add(request);
  else tasks.add({ id: request.id, advance: createTask(request) });
});

port.postMessage({ type: 'ready', device } satisfies Response);

function createTask(request: Exclude<Request, { type: 'evaluate' }>): Task['advance'] {
  switch (request.type) {
    case 'open':
      return async () => {
        await openAll(request.model, request.rewards);
        send({ type: 'done', id: request.id });
        return true;
      };
    case 'embed':
      return async () => {
        const { spec, warmUp: wanted } = request;
        const opened = await openAll(spec.model, wanted ? spec.rewards : []);
        const embedding = await opened.model.embedPrompt(spec);
        const onOutOfMemory = (size: number, error: unknown) =>
          recoverFromOutOfMemory(wanted?.spec ?? spec, size, error);
        const warmed = wanted
          ? await withoutMeasuring(() =>
              warmUp.run(opened.model, opened.rewards, wanted.spec, wanted.count, onOutOfMemory),
            )
          : [];
        send({ type: 'done', id: request.id, embedding, warmed });
        return true;
      };
    case 'close':
      return async () => {
        await models.release();
        await rewards.release();
        send({ type: 'done', id: request.id });
        tasks.clear();
        port.close();
        return true;
      };
  }
}

/**
 * Makes another try possible after a run of `size` noises ran out of memory: reduces the batch
 * size, or at a size of 1 closes all other models.
 * @throws OutOfMemoryError if there is nothing to reduce or close
 */
async function recoverFromOutOfMemory(spec: GenerationSpec, size: number, error: unknown): Promise<void> {
  const { width, height } = spec.sampler;
  const what = `${spec.model.name} at ${width}x${height}`;
  const reason = withoutSourceLocations((error as Error).message);
  if (size > 1) {
    const limit = batchSizes.halve(size, spec);
    postNotice(
      `${what}: memory does not suffice for ${size} pictures in one graph run; ` +
        `from now on at most ${limit}. ${reason}`,
    );
    return;
  }
  if (await closeOthers([spec.model], spec.rewards)) {
    postNotice(
      `${what}: memory does not suffice for one picture; other models were closed to free some. ${reason}`,
    );
    return;
  }
  throw new OutOfMemoryError(
    `${what} needs more memory than there is on ${device.name}, even for one picture at a time ` +
      `(${reason}). Request smaller pictures, use a float16 or smaller model, or a worker with more memory.`,
  );
}

async function closeOthers(
  modelsToKeep: readonly ModelSpec[],
  rewardsToKeep: readonly RewardSpec[],
): Promise<boolean> {
  const closed = [await models.releaseOthers(modelsToKeep), await rewards.releaseOthers(rewardsToKeep)];
  return closed.includes(true);
}

/**
 * Opens a model and rewards unless they are open. If memory runs out, all others are closed first.
 */
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
    postNotice(`${model.name}: memory does not suffice beside other models; they were closed to open it.`);
    return open();
  });
}

function toFailure(error: unknown): { readonly message: string; readonly kind: FailureKind } {
  const message = error instanceof Error ? error.message : String(error);
  if (isOutOfMemory(error)) return { message, kind: 'memory' };
  if (error instanceof DeviceLostError) return { message, kind: 'device' };
  return { message, kind: error instanceof EngineError ? 'engine' : 'other' };
}

function send(response: Response, transfer: ArrayBuffer[] = []): void {
  if (response.type !== 'started') {
    const loaded = [...models.names(), ...rewards.names()];
    const state = {
      loaded,
      reducedBatches: batchSizes.reduced(),
      graphMilliseconds: graphMilliseconds(),
      denoiserLoad: denoiserLoad(),
      measurements: takeMeasurements(),
    };
    port.postMessage({ type: 'state', state } satisfies Response);
  }
  port.postMessage(response, transfer);
}
