import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

/** Runs a module in a process of its own. */
async function run(code: string): Promise<string> {
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', code];
  return (await promisify(execFile)(process.execPath, args)).stdout.trim();
}

/** Whether a module of OpenTelemetry, which are CommonJS, is loaded. */
const IS_LOADED =
  "const { createRequire } = await import('node:module'); " +
  'const paths = Object.keys(createRequire(import.meta.url).cache); ' +
  "const isLoaded = paths.some((path) => path.includes('telemetry')); ";

describe('without an endpoint', () => {
  it('no tracer is opened and no module of OpenTelemetry is loaded', async () => {
    const open = (endpoint: string) =>
      run(
        "const { openTracer } = await import('./src/tracing/tracer.ts'); " +
          `const config = { traceEndpoint: ${endpoint}, traceHeaders: {} }; ` +
          `const tracer = await openTracer(config, 'findery-api'); ${IS_LOADED}` +
          'console.log(tracer === null, isLoaded); await tracer?.close();',
      );
    expect(await open('null')).toBe('true false');
    expect(await open("'http://127.0.0.1:9'")).toBe('false true');
  });
});
