import { standardNormal, stepNoiseLane } from '../numerics/normal.ts';
import { findScheduler } from '../numerics/schedulers/registry.ts';
import type { NoiseDraw } from '../search/generator.ts';
import { type Graph, integers, pick, pickFloat, refuseOtherInputs, type Tensor, type Value } from './backend.ts';
import type { GenerationSpec } from './messages.ts';

/** The embeddings of a prompt and its negative, for one draw each. */
export interface Conditioning {
  /** [L, D] */
  readonly prompt: Float32Array;
  /** [L, D]; null without classifier-free guidance. */
  readonly negative: Float32Array | null;
  readonly tokens: number;
  readonly width: number;
}

/** A UNet's inputs and output, found once. */
export interface Unet {
  readonly graph: Graph;
  readonly sample: Value;
  readonly timestep: Value;
  readonly hiddenStates: Value;
  readonly output: Value;
}

export function describeUnet(graph: Graph): Unet {
  const unet = {
    graph,
    sample: pickFloat(graph, 'inputs', 'sample', [4]),
    timestep: pick(graph, 'inputs', 'timestep', [0, 1]),
    hiddenStates: pickFloat(graph, 'inputs', 'encoder_hidden_states', [3]),
    output: pickFloat(graph, 'outputs', 'out_sample', [4]),
  };
  refuseOtherInputs(
    graph,
    [unet.sample, unet.timestep, unet.hiddenStates].map(({ name }) => name),
  );
  return unet;
}

/**
 * The denoising loop for a batch of draws: final latents [B, ...shape], from noise that belongs to each draw alone, so
 * that a draw's picture does not depend on its neighbours.
 * @param betweenRuns awaited before every graph run; it throws when the work is to stop
 */
export async function denoise(
  unet: Unet,
  spec: GenerationSpec,
  { prompt, negative, tokens, width }: Conditioning,
  draws: readonly NoiseDraw[],
  betweenRuns: () => Promise<void>,
): Promise<Float32Array> {
  const scheduler = findScheduler(spec.scheduler).create(spec.model.schedulerConfig, {
    steps: spec.steps,
    eta: spec.eta,
  });
  const d = spec.latentShape.reduce((product, size) => product * size, 1);
  const count = draws.length;
  const copies = negative ? 2 : 1;
  let latents = concatenate(draws.map(({ draw, noise }) => noise ?? standardNormal(draw, d)));
  if (scheduler.initNoiseSigma !== 1) latents = latents.map((value) => value * scheduler.initNoiseSigma);

  const hidden = concatenate([...repeat(negative, count), ...repeat(prompt, count)]);
  const hiddenStates: Tensor = { type: 'float32', dims: [copies * count, tokens, width], data: hidden };
  const sample = new Float32Array(copies * count * d);
  for (let step = 0; step < scheduler.timesteps.length; step++) {
    await betweenRuns();
    const input = scheduler.scaleModelInput(latents, step);
    for (let copy = 0; copy < copies; copy++) sample.set(input, copy * count * d);
    const { [unet.output.name]: output } = await unet.graph.run(
      {
        [unet.sample.name]: { type: 'float32', dims: [copies * count, ...spec.latentShape], data: sample },
        [unet.timestep.name]: timestepTensor(unet.timestep, scheduler.timesteps[step], copies * count),
        [unet.hiddenStates.name]: hiddenStates,
      },
      [unet.output.name],
    );
    const noise = scheduler.stochastic
      ? concatenate(draws.map(({ draw }) => standardNormal(draw, d, stepNoiseLane(step))))
      : undefined;
    latents = scheduler.step(negative ? guide(output, spec.guidanceScale) : output, step, latents, noise);
  }
  return latents;
}

/** Classifier-free guidance (Ho and Salimans 2022, eq. 6 as diffusers writes it): u + g * (c - u); `output` is [u, c]. */
function guide(output: Float32Array, guidanceScale: number): Float32Array {
  const half = output.length / 2;
  const guided = new Float32Array(half);
  for (let i = 0; i < half; i++) guided[i] = output[i] + guidanceScale * (output[half + i] - output[i]);
  return guided;
}

/** A scalar, [1] or [B], as the graph declares it. */
function timestepTensor(value: Value, timestep: number, batch: number): Tensor {
  if (value.shape.length === 0) return integers(value, [], [timestep]);
  const length = value.shape[0] === 1 ? 1 : batch;
  return integers(value, [length], new Array<number>(length).fill(timestep));
}

function repeat(values: Float32Array | null, count: number): Float32Array[] {
  return values ? new Array<Float32Array>(count).fill(values) : [];
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
