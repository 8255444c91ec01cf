import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ort from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { readCatalog } from '../../src/bundles/catalog.ts';
import { run } from '../../src/cli/commands/workers.ts';
import type { WorkerInfo } from '../../src/contract/schemas/catalog.ts';
import { Engine } from '../../src/engine/engine.ts';
import { EngineError } from '../../src/engine/graphs/engine-error.ts';
import { graphFor } from '../../src/engine/graphs/graph.ts';
import { missingLibrary } from '../../src/engine/graphs/native-libraries.ts';
import { takeProfile, workOnCpu } from '../../src/engine/graphs/placement.ts';
import { startTestService, type TestService } from '../support/processes.ts';

const EMBEDDED = join(import.meta.dirname, '..', '..', 'models');
const root = await mkdtemp(join(tmpdir(), 'findery-providers-'));
afterAll(() => rm(root, { recursive: true }));

const has = ort.listSupportedBackends().map(({ name }) => name);
/** No platform has all of them. */
const [absent] = ['dml', 'coreml'].filter((name) => !has.includes(name));
const hasCuda = (await missingLibrary('cuda')) === null;
const options = { threads: 2, batchSize: 2 };

async function errorOf(executionProviders: string[]): Promise<string> {
  const error = await Engine.start({ ...options, executionProviders }).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(EngineError);
  return (error as EngineError).message;
}

describe('execution providers', () => {
  it('that are not to be had stop the engine, with what there is and what to set', async () => {
    const message = await errorOf([absent]);
    expect(message).toContain(`FINDERY_PROVIDERS is "${absent}"`);
    expect(message).toContain(`no such provider on ${process.platform} ${process.arch}`);
    for (const name of has) expect(message).toContain(name);
    expect(message).toContain(`FINDERY_PROVIDERS=${absent},cpu`);
  });

  it.skipIf(hasCuda || !has.includes('cuda'))('of GPUs name the library that is missing', async () => {
    const message = await errorOf(['cuda', 'tensorrt']);
    expect(message).toMatch(
      /cuda:0: .*libonnxruntime_providers_\w+\.so.*install\.js --onnxruntime-node-install=cuda12/,
    );
    expect(message).toMatch(/tensorrt:0: /);
  });

  it('are taken in their order: a later one is used when it was named, and never in silence', async () => {
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

  it('take the first that works without a look at the others', async () => {
    const engine = await Engine.start({ ...options, executionProviders: ['cpu', absent] });
    expect(engine.device).toEqual({ provider: 'cpu', name: 'cpu', passedOver: [] });
    await engine.close();
  });
});

describe('a graph for CUDA alone', () => {
  it('is used there, and the plain one beside it everywhere else', async () => {
    await cp(join(EMBEDDED, 'stickers'), join(root, 'fused', 'stickers'), { recursive: true });
    const unet = join(root, 'fused', 'stickers', 'unet', 'model.onnx');
    const fused = join(root, 'fused', 'stickers', 'unet', 'model_cuda.onnx');
    expect(await graphFor(unet, 'cuda')).toBe(unet);
    await writeFile(fused, 'no graph that the CPU could open');
    expect(await graphFor(unet, 'cuda')).toBe(fused);
    for (const provider of ['tensorrt', 'webgpu', 'cpu']) expect(await graphFor(unet, provider)).toBe(unet);

    const { models, problems } = await readCatalog([join(root, 'fused')]);
    expect(problems).toEqual([]);
    const engine = await Engine.start({ ...options, executionProviders: ['cpu'] });
    await engine.open(models[0], [], { warmUp: true });
    await engine.close();
  });

  it('may not take its weights from elsewhere either', async () => {
    await cp(join(EMBEDDED, 'stickers'), join(root, 'outside', 'stickers'), { recursive: true });
    const location = Buffer.from('\x0a\x08location\x12\x0c../weights.x', 'latin1');
    await writeFile(join(root, 'outside', 'stickers', 'unet', 'model_cuda.onnx'), location);
    const { models, problems } = await readCatalog([join(root, 'outside')]);
    expect(models).toEqual([]);
    expect(problems[0].message).toMatch(/unet\/model_cuda\.onnx takes its weights from \.\.\/weights\.x/);
  });
});

describe('nodes that a provider leaves to the CPU', () => {
  it('are told apart from arithmetic on shapes by the profile of a run', async () => {
    await mkdir(join(root, 'profiles'));
    const prefix = join(root, 'profiles', 'one');
    const session = await ort.InferenceSession.create(join(EMBEDDED, 'stickers/vae_decoder/model.onnx'), {
      enableProfiling: true,
      profileFilePrefix: prefix,
    });
    await session.run({
      latent_sample: new ort.Tensor('float32', new Float32Array(4 * 16 * 16), [1, 4, 16, 16]),
    });
    session.endProfiling();
    const profile = String(await takeProfile(prefix));
    await session.release();
    expect(workOnCpu(profile).join()).toMatch(/Conv \(\d+\)/);
    expect(workOnCpu(profile.replaceAll('CPUExecutionProvider', 'CUDAExecutionProvider'))).toEqual([]);
    const small = profile.replaceAll(/"output_size" : "\d+"/g, '"output_size" : "16"');
    expect(workOnCpu(small)).toEqual([]);
    // It is gone, and where there is none nothing is known.
    expect(await takeProfile(prefix)).toBeNull();
  });
});

describe('a worker', () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService({ FINDERY_PROVIDERS: `${absent},cpu`, LOG_LEVEL: 'fatal' });
  });
  afterAll(() => service.close());

  const script = join(import.meta.dirname, '..', '..', 'src', 'cli', 'worker.ts');
  /** Its last words, when it can't start. */
  const wordsOf = (changes: NodeJS.ProcessEnv) =>
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

  it('shows the device that it uses, and why it is not the first', async () => {
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

  it('does not start on a provider that is not to be had, and says so in plain words', async () => {
    const words = await wordsOf({ FINDERY_PROVIDERS: absent });
    expect(words).toMatch(
      new RegExp(`^findery: FINDERY_PROVIDERS is "${absent}", and none of it can be used here`, 'm'),
    );
    expect(words).not.toMatch(/^ +at /m);
  });

  it('does not start when it is to warm up a model that is not there', async () => {
    expect(await wordsOf({ FINDERY_PROVIDERS: 'cpu', FINDERY_WARM: 'stickers,nobody' })).toMatch(
      /FINDERY_WARM names "nobody", but there is no such model; there are: stickers/,
    );
  });
});

describe('a VAE in float16 that overflows', () => {
  const FAMILIES = join(import.meta.dirname, '..', 'fixtures', 'families');

  /** Where the numbers of a graph's first float16 weight lie: protobuf has `name` (tag 0x42, its length), then `raw_data` (0x4a). */
  function firstWeight(graph: Buffer): { readonly from: number; readonly to: number } {
    for (let at = graph.indexOf(0x42); at >= 0; at = graph.indexOf(0x42, at + 1)) {
      const end = at + 2 + graph[at + 1];
      if (graph[end] !== 0x4a || !/^[\w.:/]+$/.test(graph.toString('latin1', at + 2, end))) continue;
      let [length, shift, from] = [0, 0, end + 1];
      for (let byte = 0x80; byte & 0x80; shift += 7) {
        byte = graph[from++];
        length |= (byte & 0x7f) << shift;
      }
      return { from, to: from + length };
    }
    throw new Error('The graph holds no weights.');
  }

  /** Every number of it 2^20 times as large, or as large as float16 has them. */
  function enlarge(graph: Buffer, { from, to }: { readonly from: number; readonly to: number }): void {
    for (let i = from; i < to; i += 2) {
      const half = graph.readUInt16LE(i);
      const exponent = (half >> 10) & 0x1f;
      if (exponent > 0) graph.writeUInt16LE((half & 0x83ff) | (Math.min(30, exponent + 20) << 10), i);
    }
  }

  it('fails with the VAE and what to do, and makes no black picture', async () => {
    const path = join(root, 'overflow', 'sd15-fp16');
    await cp(join(FAMILIES, 'sd15-fp16'), path, { recursive: true });
    const file = join(path, 'vae_decoder', 'model.onnx');
    const graph = await readFile(file);
    enlarge(graph, firstWeight(graph));
    await writeFile(file, graph);

    const { models } = await readCatalog([join(root, 'overflow')]);
    const engine = await Engine.start({ ...options, executionProviders: ['cpu'] });
    try {
      const error = await engine.open(models[0], [], { warmUp: true }).catch((error: unknown) => error);
      expect(error).toBeInstanceOf(EngineError);
      expect((error as Error).message).toMatch(
        /The VAE of sd15-fp16 \(.*vae_decoder\/model\.onnx\) overflows in float16: .*(NaN|Infinity).*--vae-dtype fp32/,
      );
    } finally {
      await engine.close();
    }
  });
});
