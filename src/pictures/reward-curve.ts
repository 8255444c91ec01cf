import { scaleLinear } from 'd3-scale';
import { line } from 'd3-shape';
import { FONT_FAMILY } from './svg-renderer.ts';
import { clipText, escapeText, INK, measureText } from './svg-text.ts';

/** Content of a reward curve. */
export interface RewardCurve {
  /** Reward of each iteration, in order. A number that is not finite leaves a gap. */
  readonly rewards: readonly number[];
  /** `rewards`, smoothed with a Gaussian. */
  readonly smoothed: readonly number[];
  /** Usually the prompt; cut if it is too long. */
  readonly title: string;
  /** Standard deviation of the Gaussian in iterations. */
  readonly sigma: number;
  /** Number of images that each reward is the mean of, if it is constant. */
  readonly imagesPerPoint?: number;
}

const WIDTH = 720;
const HEIGHT = 420;
const TOP = 84;
const BOTTOM = 56;
const RIGHT = 28;
/** Points of a line within one pixel's width; more would not be visible. */
const POINTS_IN_COLUMN = 4;
const COLORS = { raw: '#829ab1', smoothed: '#0b69a3' } as const;

/**
 * Draws the rewards of a search as an SVG of 720 x 420: the raw rewards dashed, the smoothed ones
 * solid, as in Fig. 1 of the appendix of FIND (Chen et al. 2024).
 */
export function rewardCurve({ rewards, smoothed, title, sigma, imagesPerPoint }: RewardCurve): string {
  const y = scaleLinear().domain(extent(rewards, smoothed)).nice(6);
  const formatReward = y.tickFormat(6);
  const rewardTicks = y.ticks(6).map((value) => ({ value, label: formatReward(value) }));
  const left = 46 + Math.max(...rewardTicks.map(({ label }) => measureText(label, 11)));
  const [right, bottom] = [WIDTH - RIGHT, HEIGHT - BOTTOM];
  const center = (left + WIDTH - RIGHT) / 2;
  y.range([bottom, TOP]);
  // A single point is drawn in the middle, not on the axis.
  const x = scaleLinear()
    .domain(rewards.length > 1 ? [1, rewards.length] : [0, 2])
    .range([left, right]);
  const iterationTicks = wholeTicks(x.ticks(8), rewards.length);
  const curve = line<Point>()
    .defined(({ value }) => Number.isFinite(value))
    .x(({ iteration }) => x(iteration))
    .y(({ value }) => y(value));
  const draw = (values: readonly number[]) => curve.digits(1)(thin(values, Math.round(right - left)));

  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" ` +
      `viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="${FONT_FAMILY}" font-size="11" ` +
      `fill="${INK.medium}" role="img">`,
    `<title>${escapeText(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    `<text x="24" y="32" font-size="15" font-weight="bold" fill="${INK.strong}">` +
      `${escapeText(clipText(title, WIDTH - 48, 15))}</text>`,
    legend(sigma),
    ...rewardTicks.map(({ value, label }) => {
      const at = y(value).toFixed(1);
      return (
        `<line x1="${left}" x2="${right}" y1="${at}" y2="${at}" stroke="${INK.faint}"/>` +
        `<text x="${left - 8}" y="${at}" dy="4" text-anchor="end">${label}</text>`
      );
    }),
    `<line x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}" stroke="${INK.medium}"/>`,
    ...iterationTicks.map((value) => {
      const at = x(value).toFixed(1);
      return (
        `<line x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 5}" stroke="${INK.medium}"/>` +
        `<text x="${at}" y="${bottom + 19}" text-anchor="middle">${value}</text>`
      );
    }),
    `<text x="${center}" y="${HEIGHT - 14}" font-size="12" text-anchor="middle">` +
      `${iterationLabel(imagesPerPoint)}</text>`,
    `<text transform="translate(26 ${(TOP + bottom) / 2}) rotate(-90)" font-size="12" ` +
      'text-anchor="middle">reward</text>',
    stroke(draw(rewards), COLORS.raw, 'stroke-width="1.2" stroke-dasharray="4 3"'),
    stroke(draw(smoothed), COLORS.smoothed, 'stroke-width="2.4"'),
  ];
  if (rewards.length === 0) {
    parts.push(
      `<text x="${center}" y="${(TOP + bottom) / 2 + 4}" font-size="13" ` +
        'text-anchor="middle">no rewards yet</text>',
    );
  }
  if (rewards.length === 1 && Number.isFinite(rewards[0])) {
    parts.push(
      `<circle cx="${x(1).toFixed(1)}" cy="${y(rewards[0]).toFixed(1)}" r="4" fill="${COLORS.smoothed}"/>`,
    );
  }
  parts.push('</svg>');
  return parts.join('\n');
}

interface Point {
  readonly iteration: number;
  readonly value: number;
}

/**
 * The points of a line that is drawn over `columns` pixels. Of more values than pixels can show,
 * each column keeps its first, lowest, highest and last one, and a gap: the drawn line is the same,
 * peaks included (M4 aggregation, Jugel et al. 2014).
 */
function thin(values: readonly number[], columns: number): Point[] {
  const points: Point[] = [];
  const push = (index: number) => points.push({ iteration: index + 1, value: values[index] });
  if (values.length <= POINTS_IN_COLUMN * columns) {
    for (let index = 0; index < values.length; index++) push(index);
    return points;
  }
  for (let column = 0; column < columns; column++) {
    const begin = Math.floor((column * values.length) / columns);
    const end = Math.floor(((column + 1) * values.length) / columns);
    const kept = new Set([begin, end - 1]);
    let [low, high, gap] = [-1, -1, -1];
    for (let index = begin; index < end; index++) {
      const value = values[index];
      if (!Number.isFinite(value)) gap = index;
      else {
        if (low < 0 || value < values[low]) low = index;
        if (high < 0 || value > values[high]) high = index;
      }
    }
    for (const index of [low, high, gap]) if (index >= 0) kept.add(index);
    for (const index of [...kept].sort((a, b) => a - b)) push(index);
  }
  return points;
}

/** Lowest and highest finite value; with a margin if they are equal. */
function extent(...lines: (readonly number[])[]): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const values of lines) {
    for (const value of values) {
      if (!Number.isFinite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return [0, 1];
  const margin = Math.max(0.5, Math.abs(low) * 0.1);
  return low < high ? [low, high] : [low - margin, low + margin];
}

/** The ticks that are iterations, and the first iteration, which the ticks of a long run omit. */
function wholeTicks(ticks: readonly number[], count: number): number[] {
  const whole = ticks.filter((value) => Number.isInteger(value) && value >= 1 && value <= count);
  return count > 0 && whole[0] !== 1 ? [1, ...whole] : whole;
}

function iterationLabel(imagesPerPoint: number | undefined): string {
  return imagesPerPoint !== undefined && imagesPerPoint > 1
    ? `iteration (mean of ${imagesPerPoint} images)`
    : 'iteration';
}

function legend(sigma: number): string {
  return (
    `<line x1="24" x2="52" y1="55" y2="55" stroke="${COLORS.raw}" ` +
    `stroke-width="1.2" stroke-dasharray="4 3"/>` +
    `<text x="60" y="59">each iteration</text>` +
    `<line x1="164" x2="192" y1="55" y2="55" stroke="${COLORS.smoothed}" stroke-width="2.4"/>` +
    `<text x="200" y="59">Gaussian-smoothed, σ = ${Number(sigma.toPrecision(3))}</text>`
  );
}

/** A curve; empty if there is none. */
function stroke(path: string | null, color: string, attributes: string): string {
  return path
    ? `<path d="${path}" fill="none" stroke="${color}" ` +
        `stroke-linejoin="round" stroke-linecap="round" ${attributes}/>`
    : '';
}
