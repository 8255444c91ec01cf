import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runMain } from '../../src/cli/run-main.ts';
import { renderEvidence } from './evidence.ts';

/**
 * `npm run evidence`: writes docs/evidence.md, its figures and the reports from the records in
 * docs/evidence.
 */
await runMain(async () => {
  const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
  const { page, files } = await renderEvidence(join(docs, 'evidence'));
  await writeFile(join(docs, 'evidence.md'), page);
  for (const [name, text] of Object.entries(files)) await writeFile(join(docs, 'evidence', name), text);
  console.log(`docs/evidence.md and ${Object.keys(files).length} files in docs/evidence are written`);
});
