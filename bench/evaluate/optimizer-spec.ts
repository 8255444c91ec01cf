import { resolveOptimizer } from '../../src/jobs/resolve-optimizer.ts';

/**
 * Parses a specification such as `elites:components=6` to the `optimizer` of a job.
 * @throws Error that says what is wrong with it
 */
export function parseOptimizer(spec: string): {
  name: string;
  [parameter: string]: string | number | boolean;
} {
  const [name, ...parameters] = spec.split(':');
  const values = parameters.map((parameter): [string, number | boolean] => {
    const [key, value] = parameter.split('=');
    if (value === 'true' || value === 'false') return [key, value === 'true'];
    const number = Number(value);
    if (value === undefined || value === '' || Number.isNaN(number)) {
      throw new Error(
        `"${parameter}" of optimizer "${spec}" is not parameter=value with a number, true or false.`,
      );
    }
    return [key, number];
  });
  const request = { name, ...Object.fromEntries(values) };
  resolveOptimizer(request);
  return request;
}
