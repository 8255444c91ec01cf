import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readCatalog } from '../../src/bundles/catalog.ts';
import { Engine } from '../../src/engine/engine.ts';
import { EngineError } from '../../src/engine/errors.ts';
import { FAMILIES } from '../support/family-fixtures.ts';

const root = await mkdtemp(join(tmpdir(), 'findery-vae-'));
afterAll(() => rm(root, { recursive: true }));

describe('a VAE that overflows in float16', () => {
  /**
   * The byte range of a graph's first float16 weight. Protobuf has its `name` (tag 0x42 and the
   * length), then its `raw_data` (tag 0x4a).
   */
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

  /** Multiplies each float16 in the range by 2^20, up to the largest exponent of float16. */
  function enlarge(graph: Buffer, { from, to }: { readonly from: number; readonly to: number }): void {
    for (let i = from; i < to; i += 2) {
      const half = graph.readUInt16LE(i);
      const exponent = (half >> 10) & 0x1f;
      if (exponent > 0) graph.writeUInt16LE((half & 0x83ff) | (Math.min(30, exponent + 20) << 10), i);
    }
  }

  it('is an error that names the VAE and says what to do, not a black picture', async () => {
    const path = join(root, 'overflow', 'sd15-fp16');
    await cp(join(FAMILIES, 'sd15-fp16'), path, { recursive: true });
    const file = join(path, 'vae_decoder', 'model.onnx');
    const graph = await readFile(file);
    enlarge(graph, firstWeight(graph));
    await writeFile(file, graph);

    const { models } = await readCatalog([join(root, 'overflow')]);
    const engine = await Engine.start({ executionProviders: ['cpu'], threads: 2, batchSize: 2 });
    try {
      const error = await engine.open(models[0], [], { warmUp: true }).catch((error: unknown) => error);
      expect(error).toBeInstanceOf(EngineError);
      const { message } = error as EngineError;
      expect(message).toMatch(/The VAE of sd15-fp16 \(.*vae_decoder\/model\.onnx\) overflows in float16: /);
      expect(message).toMatch(/overflows in float16: .*(NaN|Infinity).*--vae-dtype fp32/);
    } finally {
      await engine.close();
    }
  });
});
