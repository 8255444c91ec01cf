import ort from 'onnxruntime-node';
import type { StubGraph, StubValue } from './cases.ts';

/** Name of the execution provider. */
export const STUB_PROVIDER = 'stub';

/**
 * Registers an execution provider whose graphs answer at once. ONNX Runtime's API for sessions
 * stays in front of it, so the engine runs as on any other provider. An output has the same numbers
 * at every run, of about unit size, in an array that is used again.
 * @param graphs by path
 * @param onRun called before each answer with the graph's path and the size of its batch
 */
export function registerStubProvider(
  graphs: { readonly [path: string]: StubGraph },
  onRun: (path: string, batch: number) => void = () => {},
): void {
  const backend: Backend = {
    init: async () => {},
    createInferenceSessionHandler: async (path) =>
      openStub(graphs[String(path)], (batch) => onRun(String(path), batch)),
  };
  ort.registerBackend(STUB_PROVIDER, backend, -1);
}

type Backend = Parameters<typeof ort.registerBackend>[1];
type SessionHandler = Awaited<ReturnType<Backend['createInferenceSessionHandler']>>;

function openStub({ inputs, outputs }: StubGraph, onRun: (batch: number) => void): SessionHandler {
  const byBatch = new Map<string, ort.Tensor>();
  const describe = (values: readonly StubValue[]): ort.InferenceSession.ValueMetadata[] =>
    values.map((value) => ({ ...value, isTensor: true }));
  return {
    inputNames: inputs.map(({ name }) => name),
    outputNames: outputs.map(({ name }) => name),
    inputMetadata: describe(inputs),
    outputMetadata: describe(outputs),
    startProfiling() {},
    endProfiling() {},
    dispose: async () => {},
    async run(feeds, fetches) {
      const [batch] = (feeds[inputs[0].name] as ort.Tensor).dims;
      onRun(batch);
      const results: { [name: string]: ort.Tensor } = {};
      for (const output of outputs) {
        if (!(output.name in fetches)) continue;
        const key = `${output.name} ${batch}`;
        const tensor = byBatch.get(key) ?? createOutput(output, batch);
        byBatch.set(key, tensor);
        results[output.name] = tensor;
      }
      return results;
    },
  };
}

/** An output with numbers of both signs from 0.25 to 1. */
function createOutput({ shape }: StubValue, batch: number): ort.Tensor {
  const dims = shape.map((size) => (typeof size === 'number' ? size : batch));
  const bits = new Uint16Array(dims.reduce((product, size) => product * size, 1));
  let state = 1;
  for (let i = 0; i < bits.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bits[i] = ((state >>> 31) << 15) | (0x3400 + ((state >>> 8) & 0x7ff));
  }
  return new ort.Tensor('float16', bits, dims);
}
