import { type TSchema, Type } from 'typebox';
import { Link, Problem } from '../contract/schemas/common.ts';

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

const HEADERS = {
  location: Type.String({ description: 'where it is to be found' }),
  'retry-after': Type.Integer({
    description: 'seconds until it is worth asking again; missing when it has ended',
  }),
  'preference-applied': Type.String({ description: 'how much of `Prefer: wait` was granted, as `wait=30`' }),
  etag: Type.String({ description: 'for `If-None-Match`' }),
};
type Header = keyof typeof HEADERS;

const headersOf = (names: readonly Header[]) =>
  Object.fromEntries(names.map((name) => [name, HEADERS[name]]));

/** A JSON answer with headers that clients need. */
export function json<T extends TSchema>(item: T, description: string, ...headers: Header[]) {
  return {
    description,
    headers: headersOf(headers),
    content: { 'application/json': { schema: Link(item) } },
  };
}

/** An answer that is not JSON; it never changes, so it has an ETag. */
export function file(description: string, ...types: string[]) {
  const schema = Type.Unsafe<unknown>({ type: 'string', format: 'binary' });
  return {
    description,
    headers: headersOf(['etag']),
    content: Object.fromEntries(types.map((type) => [type, { schema }])),
  };
}

/** The header that holds an answer back; see `plugins/prefer.ts`. */
export const PreferHeader = Type.Object({
  prefer: Type.Optional(Type.String({ description: '`wait=SECONDS`: hold the answer so long, 60 at most' })),
});

/** An id or a name in the path. Whether there is such a thing is for the route to say. */
export const IdInPath = Type.Object({ id: Type.String({ minLength: 1, maxLength: 128 }) });

/** A list of all there is. */
export function All<T extends TSchema>(item: T) {
  return Type.Object({ data: Type.Array(Link(item)) });
}
