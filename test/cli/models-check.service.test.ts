import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { useCommandLine } from '../support/command-line.ts';

const cli = useCommandLine();

describe('findery models check explains', () => {
  const edit = (path: string, change: (config: Record<string, unknown>) => object) =>
    writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')))));
  const damages: [string, (path: string) => void | Promise<void>, RegExp][] = [
    [
      'a truncated graph',
      (path) => truncateSync(join(path, 'unet', 'model.onnx'), 20_000),
      /unet\/model\.onnx can't be opened .* if it is damaged/,
    ],
    [
      'a missing graph',
      (path) => rm(join(path, 'unet', 'model.onnx')),
      /unet\/model\.onnx is missing; export the model again/,
    ],
    [
      'a Git LFS pointer',
      (path) =>
        writeFileSync(join(path, 'unet', 'model.onnx'), 'version https://git-lfs.github.com/spec/v1\n'),
      /unet\/model\.onnx has only 43 bytes.*Git LFS/,
    ],
    [
      'truncated external weights',
      (path) => truncateSync(join(path, 'vae_decoder', 'model.onnx_data'), 5000),
      /vae_decoder\/model\.onnx can't be opened/,
    ],
    [
      'missing external weights',
      (path) => rm(join(path, 'vae_decoder', 'model.onnx_data')),
      new RegExp(
        'vae_decoder/model\\.onnx keeps its weights in model\\.onnx_data, ' +
          'which is not beside it; copy the whole folder',
      ),
    ],
    [
      'external weights outside of the bundle',
      (path) => {
        const graph = join(path, 'vae_decoder', 'model.onnx');
        // Of the same length, so that the file stays a valid protobuf.
        writeFileSync(
          graph,
          readFileSync(graph, 'latin1').replaceAll('model.onnx_data', '../../../secret'),
          'latin1',
        );
      },
      /takes its weights from \.\.\/\.\.\/\.\.\/secret, outside of its own folder/,
    ],
    [
      'a config of another resolution',
      (path) => edit(join(path, 'unet', 'config.json'), (config) => ({ ...config, sample_size: 63 })),
      /504.*multiples? of 16/s,
    ],
    [
      'a tokenizer of another model',
      (path) => edit(join(path, 'text_encoder', 'config.json'), (config) => ({ ...config, vocab_size: 100 })),
      /the tokenizer belongs to another model/,
    ],
    [
      'an inpainting model',
      (path) => edit(join(path, 'unet', 'config.json'), (config) => ({ ...config, in_channels: 9 })),
      /in_channels 9.*inpainting/,
    ],
  ];

  it.each(damages)('%s', async (_name, damage, words) => {
    const path = cli.bundleWithExternalWeights();
    await damage(path);
    const [{ status, output }, added] = await Promise.all([
      cli.findery('models', 'check', path),
      cli.findery('models', 'add', path),
    ]);
    expect(status, output).toBe(1);
    expect(output).toMatch(words);
    expect(added.status, added.output).toBe(1);
    expect(await readdir(cli.models)).toEqual([]);
  });

  it('a float16 VAE that overflows', async () => {
    const path = cli.bundle('sd15-fp16');
    edit(join(path, 'vae_decoder', 'config.json'), (config) => ({ ...config, scaling_factor: 1e-5 }));
    const { status, output } = await cli.findery('models', 'check', path);
    expect(status, output).toBe(1);
    expect(output).toMatch(/overflows in float16: it made a picture with NaN in it.*--vae-dtype fp32/);
  });
});
