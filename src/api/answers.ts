import { type TSchema, Type } from 'typebox';
import { Link, Problem } from '../jobs/schemas/common.ts';

const problem = {
  description: 'a problem (RFC 9457)',
  content: { 'application/problem+json': { schema: Link(Problem) } },
};

/** The answers of an operation: its own, and the problem that any of them can be. */
export function answers<const T extends { readonly [status: string]: unknown }>(
  own: T,
): T & { readonly default: typeof problem } {
  return { ...own, default: problem };
}

/** An answer that is not JSON. */
export function file(description: string, ...types: string[]) {
  const schema = Type.Unsafe<unknown>({ type: 'string', format: 'binary' });
  return { description, content: Object.fromEntries(types.map((type) => [type, { schema }])) };
}

/** An id or a name in the path. Whether there is such a thing is for the route to say. */
export const IdInPath = Type.Object({ id: Type.String({ minLength: 1, maxLength: 128 }) });

/** A list of all there is. */
export function All<T extends TSchema>(item: T) {
  return Type.Object({ data: Type.Array(Link(item)) });
}
