import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { ProblemError } from '../../contract/problem.ts';

/** JSON bodies and no other texts. What can't be read is told with its place; names that reach into prototypes are refused. */
export const json = fp(async (app: FastifyInstance) => {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser(['application/json', 'text/plain']);
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes: Buffer, done) => {
    // Decoded nevertheless, what is no text would become another one.
    if (!isUtf8(bytes))
      return done(new ProblemError('invalid-json', 'The body is not UTF-8, as JSON has to be.'));
    const body = bytes.toString('utf8');
    parse(request, body, (error, value) =>
      done(error && body !== '' ? new ProblemError('invalid-json', explain(body)) : error, value),
    );
  });
});

function explain(body: string): string {
  try {
    JSON.parse(body);
    return 'The body names "__proto__" or "constructor.prototype", which no field here is called. Leave it out.';
  } catch (error) {
    return `The body can't be read as JSON: ${(error as Error).message}. Send a JSON object, such as {"prompt": "a green dog"}.`;
  }
}
