import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { serviceMetrics } from '../../src/api/metrics/service-metrics.ts';
import { ConfigError } from '../../src/config/config.ts';
import { parseGpuMemory, watchGpuMemory } from '../../workers/metrics/gpu-memory.ts';
import { startMetricsServer } from '../../workers/metrics/metrics-server.ts';
import { WorkerMetrics } from '../../workers/metrics/worker-metrics.ts';
import { parseMetrics } from '../support/scrape.ts';

const LOCAL = { host: '127.0.0.1', port: 0 };
const GIBIBYTE = 2 ** 30;

describe("a worker's metrics", () => {
  it('are at /metrics of their port and nowhere else', async () => {
    const server = await startMetricsServer(LOCAL, async () => 'a 1\n');
    expect(await (await fetch(server.url)).text()).toBe('a 1\n');
    expect((await fetch(new URL('/', server.url))).status).toBe(404);
    expect((await fetch(server.url, { method: 'POST' })).status).toBe(404);
    await server.close();
    await expect(fetch(server.url)).rejects.toThrow();
  });

  it('say which setting names a port that is in use', async () => {
    const server = await startMetricsServer(LOCAL, async () => '');
    const port = Number(new URL(server.url).port);
    const error = await startMetricsServer({ ...LOCAL, port }, async () => '').catch((reason) => reason);
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toMatch(`FINDERY_METRICS_PORT is ${port}`);
    await server.close();
  });

  it('have the gain in deviations of the base, also a loss, and none without a deviation', async () => {
    const metrics = new WorkerMetrics();
    const report = (gain: number, standardError: number) =>
      ({
        draws: 4,
        base: { mean: 0, standardError },
        learned: { mean: gain, standardError },
        gain: { mean: gain, standardError },
        successRate: 0,
        diversityRatio: null,
        meanNorm: 1,
      }) as const;
    metrics.addReport('m', 'r', report(3, 1)); // 3 / (1 * sqrt(4)) = 1.5
    metrics.addReport('m', 'r', report(-1, 1));
    metrics.addReport('m', 'r', report(1, 0));
    metrics.addReport('m', [{ name: 'r', weight: 2 }], report(0, 1));
    const gains = parseMetrics(await metrics.render()).get('findery_reward_gain_deviations')?.series;
    expect(gains?.get('count{model="m",reward="r"}')).toBe(2);
    expect(gains?.get('sum{model="m",reward="r"}')).toBe(1.5 - 0.5);
    expect(gains?.get('bucket{le="-0.5",model="m",reward="r"}')).toBe(1);
    expect(gains?.get('count{model="m",reward="weighted-sum"}')).toBe(1);
  });

  it('leave out work that failed', async () => {
    const metrics = new WorkerMetrics();
    await expect(metrics.time('store', 'images', () => Promise.reject(new Error('full')))).rejects.toThrow();
    expect(parseMetrics(await metrics.render()).get('findery_stage_duration_seconds')?.series.size).toBe(0);
  });

  it('have the memory of the card as long as nvidia-smi tells it', async () => {
    expect(parseGpuMemory(' 1024, 81920\n')).toEqual({ used: GIBIBYTE, total: 80 * GIBIBYTE });
    expect(parseGpuMemory('[N/A], [N/A]\n')).toBeNull();
    const folder = await mkdtemp(join(tmpdir(), 'findery-nvidia-'));
    const program = join(folder, 'nvidia-smi');
    await writeFile(program, '#!/bin/sh\n[ "$1" = --id=3 ] && echo "2048, 4096"\n');
    await chmod(program, 0o755);
    const metrics = new WorkerMetrics();
    const watch = watchGpuMemory(3, program);
    metrics.watchGpu(watch.latest);
    const used = async () =>
      parseMetrics(await metrics.render()).get('findery_gpu_memory_used_bytes')?.series;
    expect((await used())?.size).toBe(0); // before the first reading
    await expect.poll(async () => (await used())?.get('')).toBe(2 * GIBIBYTE);
    watch.stop();
    await rm(folder, { recursive: true });
  });
});

describe('the metrics that all processes share', () => {
  it('are only that Redis is away, while it is', async () => {
    const metrics = parseMetrics(await serviceMetrics(null, Date.now()).metrics());
    expect([...metrics.keys()]).toEqual(['findery_redis_up']);
    expect(metrics.get('findery_redis_up')?.series.get('')).toBe(0);
  });
});
