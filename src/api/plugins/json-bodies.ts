import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { ProblemError } from '../../contract/problem.ts';

/** Parses JSON bodies, the only text that is read. Names that reach into prototypes are refused. */
export const jsonBodies = fp(async (app: FastifyInstance) => {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser(['application/json', 'text/plain']);
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes: Buffer, done) => {
    // Decoding invalid UTF-8 would silently change the text.
    if (!isUtf8(bytes))
      return done(new ProblemError('invalid-json', 'The body is not UTF-8; JSON has to be.'));
    const body = bytes.toString('utf8');
    parse(request, body, (error, value) =>
      done(error && body !== '' ? new ProblemError('invalid-json', explainFailure(body)) : error, value),
    );
  });
});

function explainFailure(body: string): string {
  try {
    JSON.parse(body);
    return 'The body has a member "__proto__" or "constructor.prototype". Leave it out.';
  } catch (error) {
    const { message } = error as Error;
    return `The body is not valid JSON: ${message}. Send a JSON object, such as {"prompt": "a green dog"}.`;
  }
}
