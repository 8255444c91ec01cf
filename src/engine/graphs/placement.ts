import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * Nodes whose outputs are larger than this do real work. Smaller ones compute shapes, such as the
 * sizes for a Reshape; ONNX Runtime puts these on the CPU on purpose, because a GPU takes longer
 * for a few integers.
 */
const MAX_SHAPE_BYTES = 64 * 1024;

/** An event of ONNX Runtime's profile. */
interface ProfileEvent {
  readonly cat?: string;
  readonly args?: { readonly op_name?: string; readonly provider?: string; readonly output_size?: string };
}

/**
 * The operators that did real work on the CPU, with their number, such as "Conv (12)". The most
 * frequent one comes first.
 * @param profile ONNX Runtime's profile of a run, JSON
 */
export function listCpuNodes(profile: string): string[] {
  const counts = new Map<string, number>();
  for (const { cat, args } of JSON.parse(profile) as ProfileEvent[]) {
    if (cat !== 'Node' || args?.provider !== 'CPUExecutionProvider' || !args.op_name) continue;
    if (Number(args.output_size) > MAX_SHAPE_BYTES)
      counts.set(args.op_name, (counts.get(args.op_name) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([op, count]) => `${op} (${count})`);
}

/**
 * Reads and deletes the profile that a session has written.
 * @param prefix path that the name of the profile begins with
 * @returns the profile, JSON; null if there is none, as in a folder that cannot be written
 */
export async function takeProfile(prefix: string): Promise<string | null> {
  const names = (await readdir(dirname(prefix))).filter((name) => name.startsWith(basename(prefix)));
  const [profile] = await Promise.all(
    names.map(async (name) => {
      const path = join(dirname(prefix), name);
      const text = await readFile(path, 'utf8').catch(() => null);
      await rm(path, { force: true });
      return text;
    }),
  );
  return profile ?? null;
}
