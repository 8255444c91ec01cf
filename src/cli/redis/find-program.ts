import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/**
 * Path of an executable; null: no folder has it.
 * @param searchPath folders, separated as in PATH; the first one that has the program wins
 */
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
