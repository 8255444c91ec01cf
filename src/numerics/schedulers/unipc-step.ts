import type { SignalAndNoise } from './prediction.ts';

/** What a step of UniPC is made of. */
export interface UniPcMethod {
  /** Whether the prediction of x_0 is integrated, or that of the noise. */
  readonly predictsData: boolean;
  /** The paper's B(h): h itself (bh1) or exp(h) - 1 (bh2). */
  readonly usesBh1: boolean;
}

/** Shares in the next latents: of those before, of the predictions (latest first), of the prediction at the target. */
export interface UniPcShares {
  readonly ofLatents: number;
  readonly ofPredictions: readonly number[];
  readonly ofTarget: number;
}

/**
 * A step of UniP or UniC of one order: Zhao et al. 2023, "UniPC" (arXiv 2302.04867), section 3. Latents and prediction
 * go on as in DPM-Solver's first order; to that come B(h) times the predictions' differences D_k / r_k, with weights a
 * that solve R a = b of theorem 3.1 (for x_0: with -h for h).
 *
 * @param points where the step goes, where it starts, and where the steps before it started: one more than the order
 * @param corrects UniC, which knows the prediction at the target; otherwise UniP
 */
export function shareUniStep(
  method: UniPcMethod,
  points: readonly SignalAndNoise[],
  corrects: boolean,
): UniPcShares {
  const [target, source, ...before] = points;
  const { predictsData, usesBh1 } = method;
  const h = target.lambda - source.lambda;
  // The last level can be the one before it: no way to go.
  if (h === 0) return { ofLatents: 1, ofPredictions: [], ofTarget: 0 };
  const z = predictsData ? -h : h;
  const growth = Math.expm1(z);
  const scale = predictsData ? target.alpha : target.sigma;
  const ofLatents = predictsData ? target.sigma / source.sigma : target.alpha / source.alpha;

  const nodes = before.map(({ lambda }) => (lambda - source.lambda) / h);
  const factor = usesBh1 ? z : growth;
  const weights = weigh(z, growth, factor, corrects ? [...nodes, 1] : nodes);
  const ofDifferences = weights.map((weight, k) => (-scale * factor * weight) / (nodes[k] ?? 1));
  const ofSource = ofDifferences.reduce((rest, share) => rest - share, -scale * growth);
  return {
    ofLatents,
    ofPredictions: [ofSource, ...ofDifferences.slice(0, nodes.length)],
    ofTarget: corrects ? ofDifferences[nodes.length] : 0,
  };
}

/** a of R a = b, the weights of the predictions' differences at the nodes r. */
function weigh(z: number, growth: number, factor: number, nodes: readonly number[]): readonly number[] {
  if (nodes.length === 0) return [];
  // The paper's 1/2 for UniP-2 and UniC-1, with which they keep their orders for any B(h).
  if (nodes.length === 1) return [0.5];
  const rows: number[][] = [];
  let phi = growth / z - 1;
  let factorial = 1;
  for (let i = 0; i < nodes.length; i++) {
    rows.push([...nodes.map((node) => node ** i), (phi * factorial) / factor]);
    factorial *= i + 2;
    phi = phi / z - 1 / factorial;
  }
  return solve(rows);
}

/** The solution of a linear system, its rows ending in their right side: Gauss' elimination with pivots. */
function solve(rows: number[][]): number[] {
  const n = rows.length;
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let i = column + 1; i < n; i++) {
      if (Math.abs(rows[i][column]) > Math.abs(rows[pivot][column])) pivot = i;
    }
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let i = 0; i < n; i++) {
      if (i === column) continue;
      const share = rows[i][column] / rows[column][column];
      rows[i] = rows[i].map((value, j) => value - share * rows[column][j]);
    }
  }
  return rows.map((row, i) => row[n] / row[i]);
}
