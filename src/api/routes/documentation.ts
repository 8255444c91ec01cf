import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { PROBLEMS, type ProblemCode, ProblemError } from '../../contract/problem.ts';
import { PROBLEM_TEXTS } from '../docs/problem-texts.ts';
import { responses } from '../http/route-schemas.ts';

/**
 * The OpenAPI document, and the pages of problem types. The reference at /docs comes with the
 * plugin `openapi`.
 */
export const documentation: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/openapi.json', { logLevel: 'warn', schema: { hide: true } }, async () => app.swagger());

  app.get(
    '/problems/:code',
    {
      schema: {
        operationId: 'getProblem',
        summary: 'Explain a problem type',
        tags: ['service'],
        params: Type.Object({ code: Type.String({ maxLength: 64 }) }),
        response: responses({
          200: Type.Object({
            code: Type.String(),
            title: Type.String(),
            status: Type.Integer(),
            description: Type.String(),
          }),
        }),
      },
    },
    async (request) => {
      const { code } = request.params;
      if (!isProblemCode(code))
        throw new ProblemError(
          'not-found',
          `There is no problem type "${code}"; there are ${Object.keys(PROBLEMS).join(', ')}.`,
        );
      return { code, ...PROBLEMS[code], description: PROBLEM_TEXTS[code] };
    },
  );
};

function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEMS, code);
}
