import { type TSchema, Type } from 'typebox';
import { Problem, Ref } from '../../contract/schemas/common.ts';

/** Parts of which the schemas of routes are made: responses, headers, path parameters. */

const problemResponse = {
  description: 'a problem (RFC 9457)',
  content: { 'application/problem+json': { schema: Ref(Problem) } },
};

/** The responses of an operation: its own, and the problem that each operation can answer. */
export function responses<const T extends { readonly [status: string]: unknown }>(
  own: T,
): T & { readonly default: typeof problemResponse } {
  return { ...own, default: problemResponse };
}

const HEADERS = {
  location: Type.String({ description: 'address of the record' }),
  'retry-after': Type.Integer({
    description: 'seconds to wait before the next request; absent once the work has ended',
  }),
  'preference-applied': Type.String({ description: 'the granted part of `Prefer: wait`, as `wait=30`' }),
  etag: Type.String({ description: 'for `If-None-Match`' }),
};
type Header = keyof typeof HEADERS;

const headersOf = (names: readonly Header[]) =>
  Object.fromEntries(names.map((name) => [name, HEADERS[name]]));

/** A JSON response with its headers. */
export function jsonResponse<T extends TSchema>(item: T, description: string, ...headers: Header[]) {
  return {
    description,
    headers: headersOf(headers),
    content: { 'application/json': { schema: Ref(item) } },
  };
}

/** A file as the response, with an ETag because it never changes. */
export function fileResponse(description: string, ...types: string[]) {
  const schema = Type.Unsafe<unknown>({ type: 'string', format: 'binary' });
  return {
    description,
    headers: headersOf(['etag']),
    content: Object.fromEntries(types.map((type) => [type, { schema }])),
  };
}

/** A response without a body. */
export function emptyResponse(description: string) {
  return { description, type: 'null' } as const;
}

/** The request header that holds a response; see `prefer.ts`. */
export const PreferHeader = Type.Object({
  prefer: Type.Optional(
    Type.String({ description: '`wait=SECONDS`: hold the response for up to this time, at most 60' }),
  ),
});

/** The request header of every POST; the plugin `idempotency` adds it to the routes. */
export const IdempotencyHeader = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      description: 'makes a retry safe: for a day, the same key and request get the first answer again',
    }),
  ),
});

/** An id in the path. The route answers 404 when no such record exists. */
export const IdInPath = Type.Object({ id: Type.String({ minLength: 1, maxLength: 128 }) });

/** A list without pages. */
export function ListOf<T extends TSchema>(item: T) {
  return Type.Object({ data: Type.Array(Ref(item)) });
}
