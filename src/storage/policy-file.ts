import { checkDistribution } from '../numerics/distributions/check.ts';
import type { NoiseDistribution } from '../numerics/distributions/noise-distribution.ts';
import { decodeSafetensors, encodeSafetensors, SafetensorsError, type Tensor } from './safetensors.ts';

/**
 * A learned distribution as a safetensors file (METHOD section 4): `mean` [K, ...shape], `std` [K] or [K, ...shape], `weights` [K],
 * all float32. The metadata say `format: findery.policy`, `formatVersion: 1`, and whatever else is known, every other value
 * as JSON. In Python: `distribution = safetensors.numpy.load_file(path)`, then `latents = distribution["mean"][k] + distribution["std"][k] * eps`.
 */
const FORMAT = 'findery.policy';
const FORMAT_VERSION = '1';
const RESERVED = ['format', 'formatVersion'];

/** Most components of a policy file. */
export const MAX_COMPONENTS = 256;

export interface PolicyFile {
  readonly distribution: NoiseDistribution;
  /** Without `format` and `formatVersion`. Values of files in our format are parsed; those of others are plain strings. */
  readonly metadata: { readonly [name: string]: unknown };
}

/** The bytes are not a policy that can be used; the message says what was found and what is accepted. */
export class PolicyFileError extends Error {
  override readonly name = 'PolicyFileError';
}

/**
 * The file of `distribution` and what is known of it. Nothing is added, no time and no id: the same input gives the same bytes.
 *
 * @param metadata JSON values; members that are undefined are left out
 * @throws RangeError for an unusable distribution (`checkLaw`) or a reserved name in the metadata
 */
export function encodePolicy(
  distribution: NoiseDistribution,
  metadata: { readonly [name: string]: unknown },
): Uint8Array {
  checkDistribution(distribution);
  const components = distribution.weights.length;
  if (components > MAX_COMPONENTS) {
    throw new RangeError(
      `The distribution has ${components} components; a policy file takes 1 to ${MAX_COMPONENTS}.`,
    );
  }
  const reserved = RESERVED.find((name) => name in metadata);
  if (reserved) throw new RangeError(`"${reserved}" is the file's own metadata; choose another name.`);
  const texts: { [name: string]: string } = { format: FORMAT, formatVersion: FORMAT_VERSION };
  for (const [name, value] of Object.entries(metadata)) {
    if (value !== undefined) texts[name] = JSON.stringify(value);
  }
  const full = [components, ...distribution.shape];
  return encodeSafetensors(
    {
      mean: { dtype: 'F32', shape: full, data: distribution.mean },
      std: {
        dtype: 'F32',
        shape: distribution.std.length === components ? [components] : full,
        data: distribution.std,
      },
      weights: { dtype: 'F32', shape: [components], data: distribution.weights },
    },
    texts,
  );
}

/**
 * Reads a policy file, ours or anybody's.
 *
 * @param expectedShape shape of the model's latents without the batch axis, such as [4, 64, 64]; null accepts any
 * @throws PolicyFileError
 */
export function decodePolicy(bytes: Uint8Array, expectedShape: readonly number[] | null): PolicyFile {
  const { tensors, metadata } = openFile(bytes);
  const mean = takeTensor(tensors, 'mean');
  const std = takeTensor(tensors, 'std');
  const weights = takeTensor(tensors, 'weights');
  const other = Object.keys(tensors).find((name) => !['mean', 'std', 'weights'].includes(name));
  if (other !== undefined) {
    throw new PolicyFileError(
      `The file also holds a tensor "${other}"; a policy holds \`mean\`, \`std\` and \`weights\`.`,
    );
  }

  const components = weights.shape[0];
  if (weights.shape.length !== 1 || components < 1 || components > MAX_COMPONENTS) {
    throw new PolicyFileError(
      `\`weights\` has shape ${show(weights.shape)}; it must be [K], one weight per component, K from 1 to ${MAX_COMPONENTS}.`,
    );
  }
  const shape = expectedShape ?? mean.shape.slice(1);
  const full = [components, ...shape];
  if (mean.shape.length < 2 || !isSame(mean.shape, full)) {
    const accepted = expectedShape
      ? `${show(full)}: K = ${components} as \`weights\` says, then ${show(shape)}, the shape of the model's latents`
      : `[${components}, ...], K = ${components} as \`weights\` says, then the shape of the latents`;
    throw new PolicyFileError(
      `\`mean\` has shape ${show(mean.shape)}; accepted is ${accepted}. A single Gaussian has K = 1, as \`mean[None]\` in NumPy.`,
    );
  }
  if (!isSame(std.shape, [components]) && !isSame(std.shape, full)) {
    throw new PolicyFileError(
      `\`std\` has shape ${show(std.shape)}; accepted are [${components}], one per component, and ${show(full)}, one per number.`,
    );
  }
  const distribution: NoiseDistribution = {
    shape: [...shape],
    mean: copy(mean),
    std: copy(std),
    weights: copy(weights),
  };
  try {
    checkDistribution(distribution);
  } catch (error) {
    throw new PolicyFileError((error as Error).message, { cause: error });
  }
  return { distribution, metadata: readMetadata(metadata) };
}

function openFile(bytes: Uint8Array) {
  try {
    return decodeSafetensors(bytes);
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new PolicyFileError(
      `A policy is a safetensors file, and this is not a sound one. ${error.message}`,
      {
        cause: error,
      },
    );
  }
}

function takeTensor(tensors: { readonly [name: string]: Tensor }, name: string): Tensor {
  if (!Object.hasOwn(tensors, name)) {
    const found = Object.keys(tensors).slice(0, 10).join(', ') || 'no tensor at all';
    throw new PolicyFileError(
      `The tensor \`${name}\` is missing; a policy holds \`mean\`, \`std\` and \`weights\`. Found: ${found}.`,
    );
  }
  const tensor = tensors[name];
  if (tensor.dtype !== 'F32') {
    throw new PolicyFileError(`\`${name}\` has dtype ${tensor.dtype}; a policy's tensors are F32 (float32).`);
  }
  return tensor;
}

function readMetadata(texts: { readonly [name: string]: string }): { readonly [name: string]: unknown } {
  const own = Object.entries(texts).filter(([name]) => !RESERVED.includes(name));
  // "2020" in somebody else's file is a text, not a number.
  if (texts.format !== FORMAT) return Object.fromEntries(own);
  if (texts.formatVersion !== FORMAT_VERSION) {
    throw new PolicyFileError(
      `The file's formatVersion is ${texts.formatVersion ?? 'missing'}; this findery reads ${FORMAT_VERSION}.`,
    );
  }
  return Object.fromEntries(
    own.map(([name, text]) => {
      try {
        return [name, JSON.parse(text)];
      } catch (error) {
        throw new PolicyFileError(
          `The metadata value "${name}" is not JSON, which \`format: ${FORMAT}\` asks for. In Python: json.dumps(value).`,
          { cause: error },
        );
      }
    }),
  );
}

/** The numbers in memory of their own, so that the distribution does not hold on to the file. */
function copy({ data }: Tensor): Float32Array {
  return Float32Array.from(data as Float32Array);
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

function show(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
