import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify';
import fp from 'fastify-plugin';
import { ProblemError } from '../../contract/problem.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route takes requests without a body. */
    isBodyOptional?: boolean;
  }
  interface FastifyRequest {
    /** The JSON body as it was received; empty without one. */
    jsonText: string;
  }
}

/**
 * Parses JSON bodies, the only text that is read. Names that reach into prototypes are refused.
 *
 * Many clients send a content type with every request. Where a body is optional, an empty one is no
 * body, whatever its type.
 */
export const jsonBodies = fp(async (app: FastifyInstance) => {
  app.decorateRequest('jsonText', '');
  app.addHook('onRoute', (route) => {
    if (!isBodyOptional(route)) return;
    route.config = { ...route.config, isBodyOptional: true };
    route.onRequest = [dropTypeOfEmptyBody, ...[route.onRequest ?? []].flat()];
  });

  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser(['application/json', 'text/plain']);
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes: Buffer, done) => {
    if (bytes.length === 0 && request.routeOptions.config.isBodyOptional) return done(null, undefined);
    // Decoding invalid UTF-8 would silently change the text.
    if (!isUtf8(bytes))
      return done(new ProblemError('invalid-json', 'The body is not UTF-8; JSON has to be.'));
    const body = bytes.toString('utf8');
    request.jsonText = body;
    parse(request, body, (error, value) =>
      done(error && body !== '' ? new ProblemError('invalid-json', explainFailure(body)) : error, value),
    );
  });
});

function isBodyOptional({ method, schema }: RouteOptions): boolean {
  if (method === 'GET' || method === 'HEAD' || method === 'OPTIONS') return false;
  const body = schema?.body as { readonly anyOf?: readonly { readonly type?: string }[] } | undefined;
  return body === undefined || (body.anyOf ?? []).some(({ type }) => type === 'null');
}

/** The content type of no content would select a parser, or be refused. */
async function dropTypeOfEmptyBody({ raw: { headers } }: FastifyRequest): Promise<void> {
  const length = headers['content-length'];
  if (headers['transfer-encoding'] === undefined && (length === undefined || length === '0'))
    delete headers['content-type'];
}

function explainFailure(body: string): string {
  try {
    JSON.parse(body);
    return 'The body has a member "__proto__" or "constructor.prototype". Leave it out.';
  } catch (error) {
    const { message } = error as Error;
    return `The body is not valid JSON: ${message}. Send a JSON object, such as {"prompt": "a green dog"}.`;
  }
}
