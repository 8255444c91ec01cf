import { writeFile } from 'node:fs/promises';
import { describeApi } from '../api/docs/describe-api.ts';
import { runMain } from './run-main.ts';

/** `npm run openapi`: writes the OpenAPI document from the schemas and routes. */
await runMain(async () => {
  const path = new URL('../../openapi/openapi.json', import.meta.url);
  await writeFile(path, `${JSON.stringify(await describeApi(), null, 2)}\n`);
  console.log('openapi/openapi.json is written');
});
