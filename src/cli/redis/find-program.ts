import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** The path of the program `name` in the first folder of `searchPath` (as in PATH) that has it; null where none has. */
export async function findProgram(name: string, searchPath: string): Promise<string | null> {
  for (const folder of searchPath.split(delimiter).filter(Boolean)) {
    const path = join(folder, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // The next folder may have it.
    }
  }
  return null;
}
