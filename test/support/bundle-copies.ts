import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Json } from '../../src/bundles/files.ts';

/** The folder of the embedded bundles. */
export const EMBEDDED = join(import.meta.dirname, '..', '..', 'models');

const GRAPHS = ['stickers/text_encoder', 'stickers/unet', 'stickers/vae_decoder', 'stickers-reward'];

/**
 * Copies of the embedded model and its reward in a temporary folder, for tests that damage files.
 * Graphs are placeholders, so the copies cannot be opened.
 */
export class BundleCopies {
  readonly root: string;
  #count = 0;

  private constructor(root: string) {
    this.root = root;
  }

  static async create(): Promise<BundleCopies> {
    return new BundleCopies(await mkdtemp(join(tmpdir(), 'findery-bundles-')));
  }

  /** Makes a new folder with copies of both. */
  async copy(): Promise<string> {
    const folder = join(this.root, String(++this.#count));
    await cp(EMBEDDED, folder, {
      recursive: true,
      filter: (path) => !/(\.onnx|vae_encoder|stickers-unseen)$/.test(path),
    });
    for (const graph of GRAPHS) await writeFile(join(folder, graph, 'model.onnx'), new Uint8Array(1000));
    return folder;
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true });
  }
}

/** Reads a JSON file. */
export async function readJson(path: string): Promise<Json> {
  return JSON.parse(await readFile(path, 'utf8')) as Json;
}

/** Replaces members of the object in a JSON file. */
export async function changeJson(path: string, changes: Json): Promise<void> {
  await writeFile(path, JSON.stringify({ ...(await readJson(path)), ...changes }));
}
