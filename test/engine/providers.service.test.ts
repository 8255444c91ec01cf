import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ort from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { readCatalog } from '../../src/bundles/catalog.ts';
import { run } from '../../src/cli/commands/workers.ts';
import type { WorkerInfo } from '../../src/contract/schemas/catalog.ts';
import { Engine } from '../../src/engine/engine.ts';
import { EngineError } from '../../src/engine/errors.ts';
import { findMissingLibrary } from '../../src/engine/graphs/native-libraries.ts';
import { EMBEDDED } from '../support/bundle-copies.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

const has = ort.listSupportedBackends().map(({ name }) => name);
/** No platform has all of them. */
const [absent] = ['dml', 'coreml'].filter((name) => !has.includes(name));
const hasCuda = (await findMissingLibrary('cuda')) === null;
const options = { threads: 2, batchSize: 2 };

async function errorOf(executionProviders: string[]): Promise<string> {
  const error = await Engine.start({ ...options, executionProviders }).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(EngineError);
  return (error as EngineError).message;
}

describe('an engine', () => {
  it('does not start without a provider that works, and says what is installed and what to set', async () => {
    const message = await errorOf([absent]);
    expect(message).toContain(`FINDERY_PROVIDERS is "${absent}"`);
    expect(message).toContain(`no such provider on ${process.platform} ${process.arch}`);
    for (const name of has) expect(message).toContain(name);
    expect(message).toContain(`FINDERY_PROVIDERS=${absent},cpu`);
  });

  it.skipIf(hasCuda || !has.includes('cuda'))('names the missing library of a GPU provider', async () => {
    const message = await errorOf(['cuda', 'tensorrt']);
    expect(message).toMatch(/cuda:0: .*libonnxruntime_providers_\w+\.so.*bin\/findery gpu setup/);
    expect(message).toMatch(/tensorrt:0: /);
  });

  it('uses the first provider that works, and says why it is not the first one listed', async () => {
    const notices: string[] = [];
    const { models } = await readCatalog([EMBEDDED]);
    const engine = await Engine.start({ ...options, executionProviders: [absent, 'cpu'] }, (line) =>
      notices.push(line),
    );
    try {
      expect(engine.device).toMatchObject({ provider: 'cpu', name: 'cpu' });
      expect(engine.device.passedOver).toEqual([expect.stringContaining(`${absent}`)]);
      expect(notices).toEqual([expect.stringMatching(`Graphs run on cpu, .*${absent}.*no such provider`)]);
      await engine.open(models[0], [], { warmUp: true });
    } finally {
      await engine.close();
    }
  });

  it('does not try the providers after the one that works', async () => {
    const engine = await Engine.start({ ...options, executionProviders: ['cpu', absent] });
    expect(engine.device).toEqual({ provider: 'cpu', name: 'cpu', passedOver: [] });
    await engine.close();
  });
});

describe('a worker', () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService({ FINDERY_PROVIDERS: `${absent},cpu`, LOG_LEVEL: 'fatal' });
  });
  afterAll(() => service.close());

  const script = join(import.meta.dirname, '..', '..', 'src', 'cli', 'worker.ts');
  /** What a worker writes to stderr when it cannot start. */
  const errorOutput = (changes: NodeJS.ProcessEnv) =>
    new Promise<string>((done, reject) => {
      const env = { ...service.environment, ...changes };
      execFile(
        process.execPath,
        ['--disable-warning=ExperimentalWarning', script],
        { env },
        (error, _, stderr) =>
          error?.code === 1 ? done(stderr) : reject(new Error(`ended with ${error?.code}: ${stderr}`)),
      );
    });

  it('reports the device that it uses, and why it is not the first one listed', async () => {
    const worker = await service.startWorker();
    const { data } = (await (await fetch(`${service.url}/v1/workers`)).json()) as { data: WorkerInfo[] };
    expect(data).toHaveLength(1);
    expect(data[0]).toMatchObject({ device: 'cpu', executionProviders: [absent, 'cpu'], pid: worker.pid });
    expect(data[0].passedOver).toEqual([expect.stringContaining('no such provider')]);
    expect(data[0].memoryBytes).toBeGreaterThan(2 ** 25);

    const lines: string[] = [];
    const log = vi.spyOn(console, 'log').mockImplementation((line) => lines.push(line));
    onTestFinished(() => log.mockRestore());
    expect(await run(['--url', service.url])).toBe(0);
    const [heading, row, remark] = lines.join('\n').split('\n');
    expect(heading).toMatch(/worker +device .*memory +batch +loaded +jobs/);
    expect(row).toMatch(new RegExp(`${data[0].id} +cpu `));
    expect(remark).toMatch(new RegExp(`uses cpu: ${absent}`));
  });

  it('does not start without a provider that works, and says so without a stack trace', async () => {
    const output = await errorOutput({ FINDERY_PROVIDERS: absent });
    expect(output).toMatch(
      new RegExp(`^findery: FINDERY_PROVIDERS is "${absent}", and none of it can be used here`, 'm'),
    );
    expect(output).not.toMatch(/^ +at /m);
  });

  it.runIf(process.platform === 'linux')('does not start beside another ONNX Runtime', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'findery-other-runtime-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'libonnxruntime.so.1'), 'of another program');
    const output = await errorOutput({ FINDERY_PROVIDERS: 'cpu', LD_LIBRARY_PATH: folder });
    expect(output).toMatch(/^findery: Graphs can't be run: LD_LIBRARY_PATH has another ONNX Runtime/m);
  });

  it('does not start if FINDERY_WARM names a model that is not installed', async () => {
    expect(await errorOutput({ FINDERY_PROVIDERS: 'cpu', FINDERY_WARM: 'stickers,nobody' })).toMatch(
      /FINDERY_WARM names "nobody", but there is no such model; there are: stickers/,
    );
  });
});
