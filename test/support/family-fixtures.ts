import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Tiny random bundles of every family with the pictures that diffusers makes of them (tools/parity/make_family_fixtures.py). */
export const FAMILIES = fileURLToPath(new URL('../fixtures/families/', import.meta.url));

/** One call of a diffusers pipeline. */
export interface Case {
  readonly call: {
    readonly prompt: string;
    readonly negative_prompt?: string;
    readonly guidance_scale: number;
    readonly num_inference_steps: number;
    readonly clip_skip?: number;
  };
  /** A class of diffusers; null: the pipeline's own. */
  readonly scheduler: string | null;
  readonly size: readonly [number, number];
  readonly latents: string;
  readonly stepNoises: string | null;
  readonly picture: string;
}

export interface Fixture {
  readonly channels: number;
  readonly tokens: { readonly [tokenizer: string]: readonly number[] };
  readonly cases: readonly Case[];
}

export function readFixture(name: string): Fixture {
  return JSON.parse(readFileSync(join(FAMILIES, `${name}.json`), 'utf8'));
}

export function decodeFloats(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/** A copy of a bundle, whole again: graphs that are another bundle's, byte for byte, are stored once. */
export function assemble(name: string, parent = mkdtempSync(join(tmpdir(), 'findery-family-'))): string {
  const folder = join(parent, name);
  cpSync(join(FAMILIES, name), folder, { recursive: true });
  const twins = join(folder, 'twins.json');
  if (!existsSync(twins)) return folder;
  for (const [path, other] of Object.entries(
    JSON.parse(readFileSync(twins, 'utf8')) as Record<string, string>,
  )) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    cpSync(join(FAMILIES, other), join(folder, path));
  }
  return folder;
}

export function bundleNames(): string[] {
  return readdirSync(FAMILIES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(FAMILIES, entry.name, 'model_index.json')))
    .map(({ name }) => name);
}
