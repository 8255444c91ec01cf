import { readFile } from 'node:fs/promises';

/** A wheel of PyPI that holds libraries, as `cuda-wheels.txt` pins it. */
export interface Wheel {
  readonly name: string;
  readonly version: string;
  /** Hexadecimal hash of the wheel. */
  readonly sha256: string;
  /** Size of the wheel in bytes. */
  readonly bytes: number;
  /** Size of its libraries in bytes. */
  readonly unpackedBytes: number;
}

/** The one file with versions, hashes and sizes. */
export const WHEELS_FILE = new URL('./cuda-wheels.txt', import.meta.url);

const LINE = /^([a-z0-9-]+)==([\d.]+) --hash=sha256:([0-9a-f]{64}) +# (\d+) (\d+)$/;

/**
 * Reads the wheels that `findery gpu setup` fetches.
 * @param file a requirements file of pip whose lines end in `# BYTES UNPACKED_BYTES`
 * @throws Error that names a line of another form
 */
export async function readWheels(file: URL | string = WHEELS_FILE): Promise<Wheel[]> {
  const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => /^[^#\s]/.test(line));
  return lines.map((line) => {
    const [, name, version, sha256, bytes, unpacked] = LINE.exec(line) ?? [];
    if (name === undefined) throw new Error(`This line of ${file} can't be understood: ${line}`);
    return { name, version, sha256, bytes: Number(bytes), unpackedBytes: Number(unpacked) };
  });
}

/** A wheel as a line of a requirements file of pip. */
export function requirement({ name, version, sha256 }: Wheel): string {
  return `${name}==${version} --hash=sha256:${sha256}`;
}
