import { scaleLinear } from 'd3-scale';
import { FONT_FAMILY } from '../../src/pictures/svg-renderer.ts';
import { escapeText, INK } from '../../src/pictures/svg-text.ts';
import type { Row } from './tables.ts';

const WIDTH = 760;
const LEFT = 190;
const RIGHT = 60;
const ROW = 26;
const COLORS = { gain: '#0b69a3', best: '#cf7a1c' } as const;

/**
 * SVG figure of gains with their 95 % intervals, one line for each row. Hollow circles: best image
 * of the search.
 */
export function gainFigure(rows: readonly Row[], title: string): string {
  const top = 78;
  const height = top + rows.length * ROW + 44;
  const ends = rows.flatMap(({ gain, bestGain }) => [
    gain.mean - (gain.halfWidth ?? 0),
    gain.mean + (gain.halfWidth ?? 0),
    bestGain.mean,
  ]);
  const x = scaleLinear()
    .domain([Math.min(0, ...ends), Math.max(0, ...ends)])
    .nice(6)
    .range([LEFT, WIDTH - RIGHT]);
  const at = (value: number) => x(value).toFixed(1);
  const ticks = x
    .ticks(7)
    .map(
      (tick) =>
        `<line x1="${at(tick)}" x2="${at(tick)}" y1="${top - 8}" y2="${height - 36}" ` +
        `stroke="${tick === 0 ? INK.medium : INK.faint}"/>` +
        `<text x="${at(tick)}" y="${height - 18}" text-anchor="middle">${x.tickFormat(7)(tick)}</text>`,
    );
  const lines = rows.map(({ optimizer, budget, gain, bestGain }, i) => {
    const y = top + (i + 0.5) * ROW;
    const half = gain.halfWidth ?? 0;
    return (
      `<text x="${LEFT - 12}" y="${y + 4}" text-anchor="end" fill="${INK.strong}">` +
      `${escapeText(`${optimizer}, ${budget} images`)}</text>` +
      `<line x1="${at(gain.mean - half)}" x2="${at(gain.mean + half)}" y1="${y}" y2="${y}" ` +
      `stroke="${COLORS.gain}" stroke-width="2"/>` +
      `<circle cx="${at(gain.mean)}" cy="${y}" r="5" fill="${COLORS.gain}"/>` +
      `<circle cx="${at(bestGain.mean)}" cy="${y}" r="4.5" fill="#fff" ` +
      `stroke="${COLORS.best}" stroke-width="2"/>`
    );
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" ` +
      `viewBox="0 0 ${WIDTH} ${height}" font-family="${FONT_FAMILY}" font-size="11" ` +
      `fill="${INK.medium}" role="img">`,
    `<title>${escapeText(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="24" y="32" font-size="15" font-weight="bold" fill="${INK.strong}">${escapeText(title)}</text>`,
    `<circle cx="30" cy="50" r="5" fill="${COLORS.gain}"/>` +
      '<text x="42" y="54">held-out samples of the learned distribution, 95 % interval</text>',
    `<circle cx="476" cy="50" r="4.5" fill="#fff" stroke="${COLORS.best}" stroke-width="2"/>` +
      '<text x="488" y="54">best single image of the search</text>',
    ...ticks,
    ...lines,
    '</svg>',
    '',
  ].join('\n');
}
