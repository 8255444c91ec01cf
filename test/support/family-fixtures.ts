import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Folder of tiny random bundles of every model family, with the pictures that diffusers makes with
 * them (tools/parity/make_family_fixtures.py).
 */
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
  /** Scheduler class of diffusers; null: the default of the pipeline. */
  readonly scheduler: string | null;
  /** Width and height in pixels. */
  readonly size: readonly [number, number];
  /** Initial noise, float32 in base64; as `stepNoises` and `picture`. */
  readonly latents: string;
  readonly stepNoises: string | null;
  readonly picture: string;
}

/** The calls of a bundle with their pictures. */
export interface Fixture {
  readonly channels: number;
  /** Tokens of the first prompt, by tokenizer. */
  readonly tokens: { readonly [tokenizer: string]: readonly number[] };
  readonly cases: readonly Case[];
}

/** @param name name of the bundle */
export function readFixture(name: string): Fixture {
  return JSON.parse(readFileSync(join(FAMILIES, `${name}.json`), 'utf8'));
}

/** Decodes float32 values in base64. */
export function decodeFloats(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/**
 * Copies a bundle into `parent` and completes it: a graph that equals one of another bundle is
 * stored only there, and `twins.json` names it.
 * @returns path of the copy
 */
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

/** Names of the bundles in `FAMILIES`. */
export function bundleNames(): string[] {
  return readdirSync(FAMILIES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(FAMILIES, entry.name, 'model_index.json')))
    .map(({ name }) => name);
}
