import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Row } from '../../bench/api/report.ts';

const MAIN = new URL('../../bench/simulate/main.ts', import.meta.url).pathname;

it('simulates a small fleet: every job ends, and no tenant starves', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'findery-simulate-test-'));
  const json = join(folder, 'result.json');
  const sizes = ['--workers', '20', '--jobs', '150', '--tenants', '20', '--window', '30'];
  const args = ['--disable-warning=ExperimentalWarning', MAIN, ...sizes, '--windows', '1', '--seconds', '1'];
  // Costs of so few jobs are noise, and with them the exit status.
  await new Promise((resolve) => execFile(process.execPath, [...args, '--json', json], resolve));
  const { rows, started } = JSON.parse(await readFile(json, 'utf8')) as { rows: Row[]; started: number };
  await rm(folder, { recursive: true });
  expect(started).toBe(150);
  expect(rows.find(({ what }) => what.includes('no other job'))?.met).toBe(true);
  expect(rows.find(({ what }) => what === 'connections of a worker')?.value).toMatch(/^7\./);
});
