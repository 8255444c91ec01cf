import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runMain } from '../../src/cli/run-main.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { heldOutNoises, SUITES } from './suites.ts';

/**
 * `npm run evaluate:noises -- --suite full --shape 4,16,16 --out FOLDER`: writes the prompts of a
 * suite (prompts.json) and the held-out noises of its first seed (noises.npy, float32 [samples,
 * ...shape]), for methods that are judged outside of the harness, such as tools/dpok.
 */
await runMain(async () => {
  const { values } = parseArgs({
    options: {
      suite: { type: 'string', default: 'full' },
      shape: { type: 'string', default: '4,16,16' },
      out: { type: 'string', default: 'evaluation' },
    },
  });
  const suite = SUITES[values.suite];
  if (!suite)
    throw new Error(`There is no suite "${values.suite}"; it takes ${Object.keys(SUITES).join(', ')}.`);
  const shape = values.shape.split(',').map(Number);
  if (!shape.every((side) => Number.isSafeInteger(side) && side > 0))
    throw new Error(`--shape is "${values.shape}"; it takes positive integers, separated by commas.`);
  const size = shape.reduce((product, side) => product * side, 1);
  const noises = heldOutNoises(suite.seeds[0], suite.samples).map(({ key }) => standardNormal(key, size));
  await mkdir(values.out, { recursive: true });
  await writeFile(join(values.out, 'prompts.json'), `${JSON.stringify(suite.prompts, null, 2)}\n`);
  await writeFile(join(values.out, 'noises.npy'), npy(noises, [suite.samples, ...shape]));
  console.log(`${suite.prompts.length} prompts and ${suite.samples} noises in ${values.out}`);
});

/** Encodes rows in NumPy's file format 1.0 as little-endian float32 in C order. */
function npy(rows: readonly Float32Array[], shape: readonly number[]): Buffer {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const head = Buffer.alloc(10, '\x93NUMPY\x01\x00', 'latin1');
  head.writeUInt16LE(length, 8);
  const data = rows.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength));
  return Buffer.concat([head, Buffer.from(`${text.padEnd(length - 1)}\n`, 'latin1'), ...data]);
}
