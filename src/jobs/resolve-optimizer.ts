import { ProblemError } from '../contract/problem.ts';
import type { Optimizer } from '../contract/schemas/job.ts';
import type { OptimizerDefinition } from '../numerics/optimizers/optimizer.ts';
import { lookUpOptimizer, OPTIMIZERS } from '../numerics/optimizers/registry.ts';

type Parameter = OptimizerDefinition['parameters'][string];

/**
 * Fills the defaults of all parameters into an optimizer that a request names.
 * @throws ProblemError `unknown-optimizer`; `not-possible`, with one error per parameter that is
 * unknown or out of range
 */
export function resolveOptimizer(request: Optimizer): Optimizer {
  const definition = lookUpOptimizer(request.name);
  if (!definition) {
    const names = OPTIMIZERS.map(({ name }) => name).join(', ');
    throw new ProblemError(
      'unknown-optimizer',
      `There is no optimizer "${request.name}"; there are ${names}.`,
      [{ pointer: '/optimizer/name', message: `one of ${names}` }],
    );
  }
  const errors: { pointer: string; message: string }[] = [];
  const resolved: Record<string, string | number | boolean> = {};
  for (const [name, parameter] of Object.entries(definition.parameters)) {
    const value = request[name] ?? parameter.default;
    resolved[name] = value;
    if (isAccepted(parameter, value)) continue;
    errors.push({
      pointer: `/optimizer/${name}`,
      message: `is ${JSON.stringify(value)}; takes ${describe(parameter)}`,
    });
  }
  for (const name of Object.keys(request)) {
    if (name === 'name' || Object.hasOwn(definition.parameters, name)) continue;
    const names = Object.keys(definition.parameters).join(', ') || 'none';
    errors.push({
      pointer: `/optimizer/${name}`,
      message: `${definition.name} has no such parameter; it has ${names}`,
    });
  }
  if (errors.length > 0) {
    const reasons = errors.map(({ pointer, message }) => `${pointer} ${message}`).join('; ');
    throw new ProblemError(
      'not-possible',
      `The optimizer ${definition.name} can't be set like this: ${reasons}.`,
      errors,
    );
  }
  return { name: definition.name, ...resolved };
}

/**
 * The parameters whose values a request leaves to the device that starts its job:
 * `settleParameters` sets them. Until then they have the defaults of the CPU.
 */
export function deviceParameters(request: Optimizer): readonly string[] {
  const { parameters = {} } = lookUpOptimizer(request.name) ?? {};
  return Object.entries(parameters)
    .filter(([name, parameter]) => request[name] === undefined && defaultOnGpu(parameter) !== undefined)
    .map(([name]) => name);
}

/**
 * Sets the parameters that a request left to the device.
 * @param optimizer with the defaults of the CPU
 * @param names of `deviceParameters`
 * @param provider ONNX Runtime's execution provider that starts the job
 */
export function settleParameters(
  optimizer: Optimizer,
  names: readonly string[],
  provider: string,
): Optimizer {
  if (provider === 'cpu') return optimizer;
  const { parameters = {} } = lookUpOptimizer(optimizer.name) ?? {};
  const entries = names.map((name) => [name, defaultOnGpu(parameters[name]) ?? optimizer[name]]);
  return { ...optimizer, ...Object.fromEntries(entries) };
}

function defaultOnGpu(parameter: Parameter | undefined): number | undefined {
  return parameter && parameter.type !== 'boolean' ? parameter.defaultOnGpu : undefined;
}

function isAccepted(parameter: Parameter, value: unknown): boolean {
  if (parameter.type === 'boolean') return typeof value === 'boolean';
  return (
    typeof value === 'number' &&
    value >= parameter.minimum &&
    value <= parameter.maximum &&
    (parameter.type === 'number' || Number.isInteger(value))
  );
}

function describe(parameter: Parameter): string {
  if (parameter.type === 'boolean') return 'true or false';
  const article = parameter.type === 'integer' ? 'a whole' : 'a';
  return `${article} number from ${parameter.minimum} to ${parameter.maximum}`;
}
