import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Wheel } from '../../src/cli/gpu/wheels.ts';
import { sha256Of } from '../../src/sha256.ts';

/** Whether the machine has what `findery gpu setup` needs. */
export const HAS_PIP = spawnSync('python3', ['-m', 'pip', '--version']).status === 0;

const MAKE_WHEEL = `
import json, sys, zipfile
path, name, version, files = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
tag = 'Tag: py3-none-manylinux_2_27_x86_64'
info = name.replace('-', '_') + '-' + version + '.dist-info/'
with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as wheel:
    for file, text in files.items():
        wheel.writestr(file, text)
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n' % (name, version))
    wheel.writestr(info + 'WHEEL', '\\n'.join(['Wheel-Version: 1.0', 'Root-Is-Purelib: true', tag, '']))
    wheel.writestr(info + 'RECORD', '')
`;

/**
 * Makes a wheel for pip.
 * @param folder receives the wheel; made if it is missing
 * @param files texts by their paths in the wheel
 */
export function makeWheel(
  folder: string,
  name: string,
  version: string,
  files: { readonly [path: string]: string },
): Wheel & { readonly path: string } {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name.replaceAll('-', '_')}-${version}-py3-none-manylinux_2_27_x86_64.whl`);
  execFileSync('python3', ['-c', MAKE_WHEEL, path, name, version, JSON.stringify(files)]);
  const bytes = readFileSync(path);
  return { name, version, sha256: sha256Of(bytes), bytes: bytes.length, unpackedBytes: 100, path };
}
