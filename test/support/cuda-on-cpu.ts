import { existsSync } from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { dirname, join } from 'node:path';
import threads from 'node:worker_threads';
import type ort from 'onnxruntime-node';

/**
 * Loaded into a process before everything else (`node --import`): the CPU's kernels under the name
 * of the CUDA provider, so that findery does all that it does for a GPU. While the file
 * `FINDERY_TEST_LOST_CARD` exists, every call fails as CUDA does after the card fell off the bus.
 */
const require = createRequire(import.meta.url);
const folder = dirname(require.resolve('onnxruntime-node/package.json'));
const { onnxruntimeBackend: backend } = require(join(folder, 'dist', 'backend.js')) as {
  onnxruntimeBackend: Parameters<typeof ort.registerBackend>[1];
};

function checkCard(): void {
  if (existsSync(process.env.FINDERY_TEST_LOST_CARD ?? ''))
    throw new Error(
      'Non-zero status code returned while running Conv node. Name:"c" Status Message: CUDA failure 719: ' +
        'unspecified launch failure ; GPU=0 ; hostname=vm ; file=/onnxruntime_src/x.cc ; line=45 ; expr=y; ',
    );
}

const create = backend.createInferenceSessionHandler.bind(backend);
// `registerBackend` can't replace a provider that onnxruntime-node has.
backend.createInferenceSessionHandler = async (model: string | Uint8Array, options) => {
  const open = (all: typeof options) => (typeof model === 'string' ? create(model, all) : create(model, all));
  const [provider] = options?.executionProviders ?? [];
  if (typeof provider !== 'object' || provider.name !== 'cuda') return open(options);
  checkCard();
  const handler = await open({
    ...options,
    executionProviders: ['cpu'],
    // Without the ban on CPU nodes, which the CPU provider refuses.
    extra: { session: { ...(options?.extra?.session as object), disable_cpu_ep_fallback: '0' } },
  });
  const run = handler.run.bind(handler);
  handler.run = async (...args) => {
    checkCard();
    return run(...args);
  };
  return handler;
};

// The engine gives its thread options of its own, without those of this process.
const { Worker } = threads;
threads.Worker = class extends Worker {
  constructor(url: string | URL, options: threads.WorkerOptions = {}) {
    super(url, { ...options, execArgv: [...(options.execArgv ?? []), '--import', import.meta.url] });
  }
};
syncBuiltinESMExports();
