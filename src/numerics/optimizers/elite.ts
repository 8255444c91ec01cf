import { rootMeanSquare } from '../statistics.ts';

/** A noise that scored well. */
export interface Elite {
  /** The draw at which it was found. */
  readonly index: number;
  readonly reward: number;
  /** Index of the warm-up draw that it descends from. */
  readonly founder: number;
  readonly noise: Float32Array;
}

/** The best `elites` of the candidates, best first, at most `perFounder` of one lineage. */
export function chooseCentres(
  candidates: readonly Elite[],
  { elites, perFounder }: { readonly elites: number; readonly perFounder: number },
): Elite[] {
  const siblings = new Map<number, number>();
  return candidates
    .toSorted((a, b) => b.reward - a.reward || a.index - b.index)
    .filter(({ founder }) => {
      const count = (siblings.get(founder) ?? 0) + 1;
      siblings.set(founder, count);
      return count <= perFounder;
    })
    .slice(0, elites);
}

/**
 * The noise at the norm sqrt(d) that N(0, I) has on average: single noises are a little longer or shorter, and what a search
 * prefers would add up over generations.
 */
export function onShell(noise: Float32Array): Float32Array {
  const scale = 1 / rootMeanSquare(noise);
  return noise.map((value) => value * scale);
}

/** c z + sqrt(1 - c^2) eps: as long as z and eps are, when both come from N(0, I). */
export function blend(centre: Float32Array, eps: Float32Array, c: number): Float32Array {
  const spread = Math.sqrt(1 - c * c);
  return centre.map((value, i) => c * value + spread * eps[i]);
}

/** A list of elites as a checkpoint holds them: small values, and their noises in one array. */
export function packElites(
  elites: readonly Elite[],
  d: number,
): { values: Omit<Elite, 'noise'>[]; noises: Float32Array } {
  const noises = new Float32Array(elites.length * d);
  for (const [i, { noise }] of elites.entries()) noises.set(noise, i * d);
  return { values: elites.map(({ index, reward, founder }) => ({ index, reward, founder })), noises };
}

/** What `packElites` packed. Throws a RangeError when the noises do not fit the list. */
export function unpackElites(values: unknown, noises: ArrayLike<number> | undefined, d: number): Elite[] {
  const entries = values as Omit<Elite, 'noise'>[];
  if (noises?.length !== entries.length * d) {
    throw new RangeError(`The state has ${noises?.length} numbers for ${entries.length} noises of ${d}.`);
  }
  const all = noises as Float32Array;
  return entries.map((elite, i) => ({ ...elite, noise: all.slice(i * d, (i + 1) * d) }));
}
