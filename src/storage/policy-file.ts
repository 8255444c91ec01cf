import { measureJson } from '../core/json-size.ts';
import { checkDistribution, type NoiseDistribution } from '../numerics/distributions/noise-distribution.ts';
import { decodeSafetensors } from './safetensors/decode.ts';
import { encodeSafetensors } from './safetensors/encode.ts';
import { type HeaderLimits, SafetensorsError, STORED_LIMITS, type Tensor } from './safetensors/format.ts';

/**
 * A policy file is a noise distribution as a safetensors file. Its tensors are float32: `mean` [K,
 * ...shape], `std` [K] or [K, ...shape] and `weights` [K], for K components over latents of
 * `shape`. Its metadata are `format: findery.policy`, `formatVersion: 1` and further values, each
 * as JSON. In Python:
 *
 *     policy = safetensors.numpy.load_file(path)
 *     latents = policy["mean"][k] + policy["std"][k] * eps
 */
const FORMAT = 'findery.policy';
const FORMAT_VERSION = '1';
const RESERVED = ['format', 'formatVersion'];

/** Largest number of components of a policy file. */
export const MAX_COMPONENTS = 256;

/** The content of a policy file. */
export interface PolicyFile {
  readonly distribution: NoiseDistribution;
  /**
   * Without `format` and `formatVersion`. Values are parsed as JSON when the file has findery's
   * format; in other files they are strings.
   */
  readonly metadata: { readonly [name: string]: unknown };
}

/** The bytes are not a usable policy. The message says what was found and what is accepted. */
export class PolicyFileError extends Error {
  override readonly name = 'PolicyFileError';
}

/**
 * Writes a policy file. It adds no time and no id, so the same input gives the same bytes.
 * @param metadata JSON values; undefined members are left out
 * @throws RangeError when the distribution is invalid (`checkDistribution`) or a metadata name is
 *   reserved
 */
export function encodePolicy(
  distribution: NoiseDistribution,
  metadata: { readonly [name: string]: unknown },
): Uint8Array {
  checkDistribution(distribution);
  const components = distribution.weights.length;
  if (components > MAX_COMPONENTS) {
    throw new RangeError(
      `The distribution has ${components} components; a policy file has 1 to ${MAX_COMPONENTS}.`,
    );
  }
  const reserved = RESERVED.find((name) => name in metadata);
  if (reserved) throw new RangeError(`The metadata name "${reserved}" is reserved; choose another one.`);
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
 * Reads a policy file, also one that other software wrote.
 * @param expectedShape shape of the model's latents without the batch axis, such as [4, 64, 64];
 *   null for any
 * @param limits limits of the header and the metadata; those of uploads for files of clients
 * @throws PolicyFileError
 */
export function decodePolicy(
  bytes: Uint8Array,
  expectedShape: readonly number[] | null,
  limits: HeaderLimits = STORED_LIMITS,
): PolicyFile {
  const { tensors, metadata } = openFile(bytes, limits);
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
      `\`weights\` has shape ${formatShape(weights.shape)}; it must be [K], one weight per component, ` +
        `K from 1 to ${MAX_COMPONENTS}.`,
    );
  }
  const shape = expectedShape ?? mean.shape.slice(1);
  const full = [components, ...shape];
  if (mean.shape.length < 2 || !isSameShape(mean.shape, full)) {
    const accepted = expectedShape
      ? `${formatShape(full)}: K = ${components} as \`weights\` says, ` +
        `then ${formatShape(shape)}, the shape of the model's latents`
      : `[${components}, ...], K = ${components} as \`weights\` says, then the shape of the latents`;
    throw new PolicyFileError(
      `\`mean\` has shape ${formatShape(mean.shape)}; accepted is ${accepted}. ` +
        'A single Gaussian has K = 1, as `mean[None]` in NumPy.',
    );
  }
  if (!isSameShape(std.shape, [components]) && !isSameShape(std.shape, full)) {
    throw new PolicyFileError(
      `\`std\` has shape ${formatShape(std.shape)}; accepted are [${components}], one per component, ` +
        `and ${formatShape(full)}, one per number.`,
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
  return { distribution, metadata: readMetadata(metadata, limits) };
}

function openFile(bytes: Uint8Array, limits: HeaderLimits) {
  try {
    return decodeSafetensors(bytes, limits);
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new PolicyFileError(`A policy is a safetensors file, and this one is not valid. ${error.message}`, {
      cause: error,
    });
  }
}

function takeTensor(tensors: { readonly [name: string]: Tensor }, name: string): Tensor {
  if (!Object.hasOwn(tensors, name)) {
    const found = Object.keys(tensors).slice(0, 10).join(', ') || 'no tensors';
    throw new PolicyFileError(
      `The tensor \`${name}\` is missing; a policy holds \`mean\`, \`std\` and \`weights\`. ` +
        `Found: ${found}.`,
    );
  }
  const tensor = tensors[name];
  if (tensor.dtype !== 'F32') {
    throw new PolicyFileError(`\`${name}\` has dtype ${tensor.dtype}; a policy's tensors are F32 (float32).`);
  }
  return tensor;
}

function readMetadata(
  texts: { readonly [name: string]: string },
  limits: HeaderLimits,
): { readonly [name: string]: unknown } {
  const own = Object.entries(texts).filter(([name]) => !RESERVED.includes(name));
  // Other software writes plain strings: "2020" may be a name.
  if (texts.format !== FORMAT) return Object.fromEntries(own);
  if (texts.formatVersion !== FORMAT_VERSION) {
    throw new PolicyFileError(
      `The file's formatVersion is ${texts.formatVersion ?? 'missing'}; this findery reads ` +
        `${FORMAT_VERSION}.`,
    );
  }
  let values = 0;
  return Object.fromEntries(
    own.map(([name, text]) => {
      const size = measureJson(text);
      values += size.values;
      if (values > limits.values || size.depth > limits.metadataDepth) {
        throw new PolicyFileError(
          `The metadata value "${name}" has ${size.values} values in ${size.depth} levels; ` +
            `accepted are ${limits.values} values in all metadata and ${limits.metadataDepth} levels.`,
        );
      }
      try {
        return [name, JSON.parse(text)];
      } catch (error) {
        throw new PolicyFileError(
          `The metadata value "${name}" is not JSON, which \`format: ${FORMAT}\` requires. ` +
            'In Python: json.dumps(value).',
          { cause: error },
        );
      }
    }),
  );
}

/** Copies the numbers, so that the distribution does not keep the whole file in memory. */
function copy({ data }: Tensor): Float32Array {
  return Float32Array.from(data as Float32Array);
}

function isSameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

function formatShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
