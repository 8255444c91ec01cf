import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { startService } from '../../src/cli/service.ts';
import { readConfig } from '../../src/config/config.ts';
import { renderSvg } from '../../src/pictures/svg-renderer.ts';
import { openStore } from '../../src/store/store.ts';
import { ApiKeys, NO_LIMITS, type Scope } from '../../src/tenancy/api-keys.ts';
import { freePort } from '../support/redis-servers.ts';
import { DOCKER, type Panel, readDashboard } from './dashboard.ts';
import { drawDashboard, type FilledPanel } from './draw-dashboard.ts';
import { lintMetrics, Prometheus, promtool } from './prometheus.ts';
import { makeTraffic } from './traffic.ts';

/**
 * `npm run test:monitoring -- [--minutes N] [--picture FILE]`: checks rules and metrics with
 * promtool, lets Prometheus scrape a service at work, and runs every query of the dashboard. Needs
 * `prometheus` and `promtool` on the PATH. Exits with 1 if something is wrong.
 */
const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '1' }, picture: { type: 'string' } },
});
const minutes = Number(values.minutes);
if (!(minutes > 0 && minutes <= 600))
  throw new Error(`--minutes is "${values.minutes}"; it takes a number above 0, at most 600`);

/** Panels that are empty on some machines or in a short run. */
const MAY_BE_EMPTY = ['GPU memory'];
const TENANTS = ['amber', 'birch', 'cedar', 'dune'];
const SCRAPE_SECONDS = 2;

const problems: string[] = [];
const check = async (what: string, work: () => Promise<unknown>) => {
  try {
    await work();
    console.log(`ok: ${what}`);
  } catch (error) {
    problems.push(what);
    console.error(`PROBLEM: ${what}: ${(error as Error).message}`);
  }
};

const prometheusFolder = join(DOCKER, 'prometheus');
await check('the rules are valid', () => promtool('check', 'rules', join(prometheusFolder, 'alerts.yaml')));
await check('each alert fires for its cause, and only for that', () =>
  promtool('test', 'rules', join(prometheusFolder, 'alerts.test.yaml')),
);
await check('the configuration is valid', () =>
  promtool('check', 'config', '--syntax-only', join(prometheusFolder, 'prometheus.yml')),
);

const folder = await mkdtemp(join(tmpdir(), 'findery-monitoring-'));
const redis = await ensureRedis({ dataDir: folder, log: () => {} });
const metricsPort = await freePort();
const environment = {
  FINDERY_DATA: folder,
  REDIS_URL: redis.url,
  PORT: '0',
  FINDERY_METRICS_PORT: String(metricsPort),
  FINDERY_WEBHOOK_ALLOW: '127.0.0.1',
  LOG_LEVEL: 'error',
};
Object.assign(process.env, environment); // the worker is a child process
const config = readConfig(environment);
const store = await openStore(redis.url, config.redisPrefix, { failFast: false });
const apiKeys = new ApiKeys(store.redis, store.keys);
const createKey = async (tenant: string, scopes: Scope[]) =>
  (await apiKeys.create({ name: tenant, tenant, scopes, limits: NO_LIMITS, expiresAt: null }, new Date()))
    .secret;
const metricsKey = await createKey('operators', ['metrics:read']);
const keys = await Promise.all(TENANTS.map((tenant) => createKey(tenant, ['tenant-admin'])));
const service = await startService({ config, logger: pino({ level: 'error' }), print: () => {} });
await service.workerReady;
const targets = {
  'findery-api': new URL(service.url).host,
  'findery-worker': `127.0.0.1:${metricsPort}`,
};
const prometheus = await Prometheus.start(folder, targets, metricsKey);
try {
  const start = Date.now() / 1000;
  const { requests } = await makeTraffic(service.url, keys, minutes * 60_000);
  const range = [start, Date.now() / 1000] as const;
  console.log(`${requests} requests in ${minutes} minutes.`);
  const step = Math.max(SCRAPE_SECONDS, (range[1] - range[0]) / 200);
  const query = async (expression: string) => {
    const filled = expression.replaceAll('$__rate_interval', '30s');
    return prometheus.query(filled, { start: range[0], end: range[1], step });
  };
  await check('both processes are scraped', async () => {
    const up = await query('up == 1');
    if (up.length !== 2) throw new Error(`${up.length} of 2`);
  });
  await check('promtool has no remark on the metrics of findery', async () => {
    const headers = { authorization: `Bearer ${metricsKey}` };
    for (const target of Object.values(targets)) {
      const response = await fetch(`http://${target}/metrics`, { headers });
      const remarks = await lintMetrics(await response.text());
      const own = remarks.filter((remark) => remark.startsWith('findery_'));
      if (!response.ok || own.length > 0) throw new Error(`${response.status} ${own.join('; ')}`);
    }
  });
  const panels: FilledPanel[] = [];
  for (const panel of readDashboard())
    await check(`the panel "${panel.title}"`, async () => panels.push(await fill(panel, query)));
  if (values.picture) {
    await writeFile(values.picture, renderSvg(drawDashboard(panels, range)));
    console.log(`${values.picture} is written.`);
  }
} finally {
  await prometheus.stop();
  await service.close();
  await store.close();
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
}
console.log(problems.length === 0 ? 'Everything is as it should be.' : `${problems.length} problems.`);
process.exit(problems.length === 0 ? 0 : 1);

/** Runs the queries of a panel. @throws Error if none gives a series and the panel needs one */
async function fill(
  panel: Panel,
  query: (expression: string) => ReturnType<Prometheus['query']>,
): Promise<FilledPanel> {
  const series: { name: string; points: FilledPanel['series'][number]['points'] }[] = [];
  for (const { expr, legendFormat } of panel.targets)
    for (const { labels, points } of await query(expr))
      series.push({ name: legendFormat.replace(/\{\{(\w+)\}\}/g, (_, name) => labels[name] ?? ''), points });
  if (series.length === 0 && panel.type !== 'row' && !MAY_BE_EMPTY.includes(panel.title))
    throw new Error('it has no data');
  return { ...panel, series };
}
