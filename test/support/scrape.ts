/** A metric in Prometheus' text format. */
export interface ScrapedMetric {
  readonly type: string;
  readonly help: string;
  /** Series by their labels as they are written, as `le="1",route="/healthz"`; '' for none. */
  readonly series: ReadonlyMap<string, number>;
  /** Names of the labels of all series, sorted; `le` of histograms is left out. */
  readonly labels: readonly string[];
}

/** Parses what `/metrics` answers. Series of a histogram are `SUFFIX{LABELS}`, as `count{...}`. */
export function parseMetrics(text: string): Map<string, ScrapedMetric> {
  const metrics = new Map<string, ScrapedMetric & { series: Map<string, number>; labels: string[] }>();
  let help = '';
  for (const line of text.split('\n')) {
    const [, kind, name, rest] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind === 'HELP') help = rest;
    if (kind === 'TYPE') metrics.set(name, { type: rest, help, series: new Map(), labels: [] });
    const [, full, labels = '', value] = /^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (full === undefined) continue;
    const [, plain, suffix] = /^(.*)_(bucket|sum|count)$/.exec(full) ?? [];
    const metric = metrics.get(full) ?? metrics.get(plain);
    if (!metric) throw new Error(`"${line}" belongs to no metric.`);
    metric.series.set(metrics.has(full) ? labels : `${suffix}{${labels}}`, Number(value));
    for (const [, label] of labels.matchAll(/([a-z_]+)="/g))
      if (label !== 'le' && !metric.labels.includes(label)) metric.labels.push(label);
    metric.labels.sort();
  }
  return metrics;
}
