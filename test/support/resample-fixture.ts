import { readFileSync } from 'node:fs';
import type { Picture } from '../../src/core/picture.ts';
import type { Filter } from '../../src/engine/resampling.ts';

/** Pictures with the results of Pillow and transformers; tools/parity/make_resample_fixture.py. */
interface ResampleFixture {
  readonly pictures: readonly {
    readonly name: string;
    readonly width: number;
    readonly height: number;
    readonly pixels: string;
  }[];
  readonly resized: readonly {
    readonly picture: string;
    readonly filter: Filter;
    readonly width: number;
    readonly height: number;
    readonly pixels: string;
  }[];
  readonly prepared: readonly {
    readonly picture: string;
    readonly config: { readonly [key: string]: unknown };
    readonly shape: readonly [number, number, number];
    readonly values: string;
  }[];
}

export const fixture: ResampleFixture = JSON.parse(
  readFileSync(new URL('../fixtures/resample.json', import.meta.url), 'utf8'),
);

/** Decodes base64. */
export function decodeBytes(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text, 'base64'));
}

/** @throws Error if the fixture has no picture of this name */
export function findPicture(name: string): Picture {
  const found = fixture.pictures.find((picture) => picture.name === name);
  if (!found) throw new Error(`The fixture has no picture "${name}".`);
  return { width: found.width, height: found.height, pixels: decodeBytes(found.pixels) };
}
