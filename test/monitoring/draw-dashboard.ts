import { scaleLinear, scaleUtc } from 'd3-scale';
import { line } from 'd3-shape';
import { FONT_FAMILY } from '../../src/pictures/svg-renderer.ts';
import { clipText, escapeText, INK, measureText } from '../../src/pictures/svg-text.ts';
import type { Panel } from './dashboard.ts';
import type { Series } from './prometheus.ts';

/** A panel with the answers to its queries. */
export interface FilledPanel extends Panel {
  readonly series: readonly { readonly name: string; readonly points: Series['points'] }[];
}

const CELL = { width: 60, height: 34 };
const GAP = 6;
const COLUMNS = 24;
const COLORS = ['#0b69a3', '#c2410c', '#2f855a', '#805ad5', '#b7791f', '#d53f8c', '#4a5568', '#0694a2'];
const LEGEND_ENTRIES = 6;

/**
 * Draws the dashboard as an SVG, roughly as Grafana shows it, for documents and for checking it
 * without Grafana.
 * @param range seconds since 1970
 */
export function drawDashboard(panels: readonly FilledPanel[], range: readonly [number, number]): string {
  const rows = Math.max(...panels.map(({ place }) => place.y + place.h));
  const [width, height] = [COLUMNS * CELL.width, rows * CELL.height + GAP];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${width} ${height}" font-family="${FONT_FAMILY}" font-size="10" fill="${INK.medium}">`,
    `<rect width="${width}" height="${height}" fill="#f4f5f7"/>`,
    ...panels.map((panel) => drawPanel(panel, range)),
    '</svg>',
  ].join('\n');
}

function drawPanel(panel: FilledPanel, range: readonly [number, number]): string {
  const { place, title, type } = panel;
  const [width, height] = [place.w * CELL.width - GAP, place.h * CELL.height - GAP];
  const at = `translate(${place.x * CELL.width + GAP / 2} ${place.y * CELL.height + GAP / 2})`;
  if (type === 'row')
    return (
      `<text transform="${at}" x="6" y="18" font-size="13" font-weight="bold">` +
      `${escapeText(title)}</text>`
    );
  const content = type === 'stat' ? drawStat(panel, width, height) : drawChart(panel, width, height, range);
  return [
    `<g transform="${at}">`,
    `<rect width="${width}" height="${height}" rx="3" fill="#fff" stroke="${INK.faint}"/>`,
    `<text x="10" y="18" font-size="11" font-weight="bold" fill="${INK.strong}">${escapeText(title)}</text>`,
    content,
    '</g>',
  ].join('\n');
}

function drawStat({ series, unit }: FilledPanel, width: number, height: number): string {
  const value = series[0]?.points.at(-1)?.[1];
  const text = value === undefined ? 'no data' : formatValue(value, unit);
  return (
    `<text x="${width / 2}" y="${height / 2 + 24}" font-size="34" font-weight="bold" ` +
    `text-anchor="middle" fill="${COLORS[0]}">${text}</text>`
  );
}

function drawChart(
  { series, unit }: FilledPanel,
  width: number,
  height: number,
  range: readonly [number, number],
): string {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value)).filter(Number.isFinite);
  if (values.length === 0)
    return `<text x="${width / 2}" y="${height / 2}" font-size="12" text-anchor="middle">no data</text>`;
  const legendLines = Math.ceil(Math.min(series.length, LEGEND_ENTRIES) / 2);
  const [top, bottom] = [30, height - 24 - 14 * legendLines];
  const y = scaleLinear()
    .domain([Math.min(0, ...values), Math.max(...values) || 1])
    .nice(4)
    .range([bottom, top]);
  const ticks = y.ticks(4).map((value) => ({ value, label: formatValue(value, unit) }));
  const left = 14 + Math.max(...ticks.map(({ label }) => measureText(label, 10)));
  const x = scaleUtc()
    .domain([new Date(range[0] * 1000), new Date(range[1] * 1000)])
    .range([left, width - 12]);
  const formatTime = x.tickFormat(4, '%H:%M:%S');
  const curve = line<readonly [number, number]>()
    .defined(([, value]) => Number.isFinite(value))
    .x(([time]) => x(new Date(time * 1000)))
    .y(([, value]) => y(value))
    .digits(1);
  return [
    ...ticks.map(
      ({ value, label }) =>
        `<line x1="${left}" x2="${width - 12}" y1="${y(value)}" y2="${y(value)}" stroke="${INK.faint}"/>` +
        `<text x="${left - 6}" y="${y(value)}" dy="3" text-anchor="end">${label}</text>`,
    ),
    ...x
      .ticks(4)
      .map(
        (time) => `<text x="${x(time)}" y="${bottom + 14}" text-anchor="middle">${formatTime(time)}</text>`,
      ),
    ...series.map(
      ({ points }, i) =>
        `<path d="${curve(points) ?? ''}" fill="none" stroke="${COLORS[i % COLORS.length]}" ` +
        'stroke-width="1.6"/>',
    ),
    ...series.slice(0, LEGEND_ENTRIES).map(({ name }, i) => {
      const [column, row] = [i % 2, Math.floor(i / 2)];
      const [cx, cy] = [10 + column * (width / 2 - 6), bottom + 30 + 14 * row];
      const label = escapeText(clipText(name, width / 2 - 34, 10));
      return (
        `<rect x="${cx}" y="${cy - 6}" width="10" height="3" fill="${COLORS[i % COLORS.length]}"/>` +
        `<text x="${cx + 15}" y="${cy}">${label}</text>`
      );
    }),
  ].join('\n');
}

/** A value with its unit, as Grafana abbreviates it. */
export function formatValue(value: number, unit: string): string {
  const short = (number: number) => String(Number(number.toPrecision(3)));
  if (unit === 'percentunit') return `${short(100 * value)} %`;
  if (unit === 'bytes') {
    const power = Math.min(4, Math.max(0, Math.floor(Math.log2(value || 1) / 10)));
    return `${short(value / 1024 ** power)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`;
  }
  if (unit === 's' && value !== 0) {
    if (value < 1) return `${short(1000 * value)} ms`;
    return value < 120 ? `${short(value)} s` : `${short(value / 60)} min`;
  }
  return short(value);
}
