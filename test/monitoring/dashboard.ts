import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The folder of the files for operators. */
export const DOCKER = join(import.meta.dirname, '..', '..', 'docker');

/** A panel of the Grafana dashboard. */
export interface Panel {
  readonly title: string;
  readonly type: 'stat' | 'timeseries' | 'row';
  /** Grafana's name of the unit. */
  readonly unit: string;
  /** In cells: 24 columns, any number of rows. */
  readonly place: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
}

interface GrafanaPanel {
  readonly title: string;
  readonly type: Panel['type'];
  readonly gridPos: Panel['place'];
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: Panel['targets'];
}

/** Reads the panels of `docker/grafana/findery.json`. */
export function readDashboard(): Panel[] {
  const { panels } = JSON.parse(readFileSync(join(DOCKER, 'grafana', 'findery.json'), 'utf8')) as {
    readonly panels: readonly GrafanaPanel[];
  };
  return panels.map(({ title, type, gridPos, fieldConfig, targets = [] }) => ({
    title,
    type,
    unit: fieldConfig?.defaults.unit ?? 'none',
    place: gridPos,
    targets,
  }));
}

/** Names of the metrics that PromQL expressions read; of histograms without their suffix. */
export function metricNames(text: string): string[] {
  const names = text.match(/\b(?:findery|nodejs|process)_[a-z0-9_]+\b/g) ?? [];
  return [...new Set(names.map((name) => name.replace(/_(bucket|sum|count)$/, '')))].sort();
}
