import { rootMeanSquare } from '../statistics.ts';

/** A noise with its reward and its descent. The fields except `noise` are stored in checkpoints. */
export interface Elite {
  /** Index of its noise key in the stream of the search. */
  readonly index: number;
  /** Its reward. */
  readonly reward: number;
  /** Index of its founder: the noise from N(0, I) that its lineage started with. */
  readonly founder: number;
  /** d numbers. */
  readonly noise: Float32Array;
}

/**
 * Selects the candidates with the highest rewards, best first.
 *
 * @param limits.elites maximum number of candidates to select
 * @param limits.perFounder maximum number of them with one founder
 */
export function selectElites(
  candidates: readonly Elite[],
  limits: { readonly elites: number; readonly perFounder: number },
): Elite[] {
  const counts = new Map<number, number>();
  return candidates
    .toSorted((a, b) => b.reward - a.reward || a.index - b.index)
    .filter(({ founder }) => {
      const count = (counts.get(founder) ?? 0) + 1;
      counts.set(founder, count);
      return count <= limits.perFounder;
    })
    .slice(0, limits.elites);
}

/**
 * Scales a noise to the norm sqrt(d), which noises from N(0, I) have on average ("the shell").
 * Single noises are slightly longer or shorter; without the projection the preference of a search
 * for either would add up over generations.
 */
export function projectToShell(noise: Float32Array): Float32Array {
  const scale = 1 / rootMeanSquare(noise);
  return noise.map((value) => value * scale);
}

/**
 * A variance-preserving step from a noise: c * centre + sqrt(1 - c^2) * eps. If both come from N(0,
 * I), so does the result.
 *
 * @param c cosine of the result to `centre` (about), in [0, 1]
 */
export function blend(centre: Float32Array, eps: Float32Array, c: number): Float32Array {
  const spread = Math.sqrt(1 - c * c);
  return centre.map((value, i) => c * value + spread * eps[i]);
}

/**
 * The checkpoint of a list of elites: their small values, and their noises in one array, n * d
 * numbers.
 */
export function packElites(
  elites: readonly Elite[],
  d: number,
): { values: Omit<Elite, 'noise'>[]; noises: Float32Array } {
  const noises = new Float32Array(elites.length * d);
  for (const [i, { noise }] of elites.entries()) noises.set(noise, i * d);
  return { values: elites.map(({ index, reward, founder }) => ({ index, reward, founder })), noises };
}

/**
 * The inverse of `packElites`.
 * @throws RangeError if the number of noises is not that of the values
 */
export function unpackElites(values: unknown, noises: ArrayLike<number> | undefined, d: number): Elite[] {
  const entries = values as Omit<Elite, 'noise'>[];
  if (noises?.length !== entries.length * d) {
    throw new RangeError(`The state has ${noises?.length} numbers for ${entries.length} noises of ${d}.`);
  }
  const all = noises as Float32Array;
  return entries.map((elite, i) => ({ ...elite, noise: all.slice(i * d, (i + 1) * d) }));
}
