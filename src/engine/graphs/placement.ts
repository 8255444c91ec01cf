import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * Bytes of a node's outputs beyond which it is work and no arithmetic on shapes. ONNX Runtime puts the latter (sizes that are
 * gathered, multiplied and joined for a Reshape) on the CPU on purpose: a GPU would take longer for a few integers.
 */
const LARGEST_SHAPES = 64 * 1024;

/** An event of ONNX Runtime's profile. */
interface ProfileEvent {
  readonly cat?: string;
  readonly args?: { readonly op_name?: string; readonly provider?: string; readonly output_size?: string };
}

/**
 * Kinds of nodes that did real work on the CPU, with their number: "Conv (12)". The most frequent come first.
 * @param profile ONNX Runtime's profile of a run, JSON
 */
export function workOnCpu(profile: string): string[] {
  const counts = new Map<string, number>();
  for (const { cat, args } of JSON.parse(profile) as ProfileEvent[]) {
    if (cat !== 'Node' || args?.provider !== 'CPUExecutionProvider' || !args.op_name) continue;
    if (Number(args.output_size) > LARGEST_SHAPES)
      counts.set(args.op_name, (counts.get(args.op_name) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([op, count]) => `${op} (${count})`);
}

/** The profile that a session wrote under this prefix, which goes; null where it could not write one. */
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
