import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runMain } from '../../src/cli/run-main.ts';
import { renderEvidence } from './evidence.ts';

/** `npm run evidence`: writes docs/evidence.md and its figures anew from the JSON lines in docs/evidence. */
await runMain(async () => {
  const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
  const { page, figures } = await renderEvidence(join(docs, 'evidence'));
  await writeFile(join(docs, 'evidence.md'), page);
  for (const [name, svg] of Object.entries(figures)) await writeFile(join(docs, 'evidence', name), svg);
  console.log(`docs/evidence.md and ${Object.keys(figures).length} figures`);
});
