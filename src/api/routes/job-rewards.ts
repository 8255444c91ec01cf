import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ProblemError } from '../../contract/problem.ts';
import { OneOf, Ref } from '../../contract/schemas/common.ts';
import { RewardHistory } from '../../contract/schemas/reward-history.ts';
import { renderSvg } from '../../pictures/svg-renderer.ts';
import { negotiateType } from '../http/content-negotiation.ts';
import { IdInPath, responses } from '../http/route-schemas.ts';
import { sendFile } from '../http/send.ts';
import { rewardHistory, rewardsAsCsv, rewardsAsSvg } from '../jobs/reward-history.ts';

const TYPES = { json: 'application/json', csv: 'text/csv', svg: 'image/svg+xml', png: 'image/png' } as const;
type Format = keyof typeof TYPES;
const FORMATS = Object.keys(TYPES) as Format[];
/**
 * Of equally accepted types the first is sent. PNG precedes SVG because every program can show it.
 */
const PREFERRED_TYPES = [TYPES.json, TYPES.csv, TYPES.png, TYPES.svg];

/** The reward of every image of a search: as JSON, as a table, and as the paper's curve. */
export const jobRewards: FastifyPluginAsyncTypebox = async (app) => {
  const text = Type.Unsafe<unknown>({ type: 'string' });

  app.get(
    '/v1/jobs/:id/rewards',
    {
      schema: {
        operationId: 'getJobRewards',
        summary:
          'Get the rewards of a search: JSON, CSV, or the curve (raw dashed, smoothed solid) as SVG or PNG',
        tags: ['jobs'],
        params: IdInPath,
        querystring: Type.Object(
          {
            format: Type.Optional(OneOf(FORMATS, { description: 'takes precedence over `Accept`' })),
            sigma: Type.Optional(
              Type.Number({
                minimum: 0,
                maximum: 100,
                default: 3,
                description: 'standard deviation of the smoothing Gaussian, in iterations',
              }),
            ),
          },
          { additionalProperties: false },
        ),
        response: responses({
          200: {
            description: 'the rewards',
            content: {
              [TYPES.json]: { schema: Ref(RewardHistory) },
              [TYPES.csv]: { schema: text },
              [TYPES.svg]: { schema: text },
              [TYPES.png]: { schema: text },
            },
          },
        }),
      },
    },
    async (request, reply) => {
      const { format = negotiateFormat(request.headers.accept), sigma = 3 } = request.query as {
        format?: Format;
        sigma?: number;
      };
      const { jobs } = request.store;
      const job = await jobs.get(request.params.id);
      const history = rewardHistory(job, await jobs.rewards(job.id), sigma);
      reply
        .header('content-type', format === 'csv' ? 'text/csv; charset=utf-8' : TYPES[format])
        .header('vary', 'accept');
      switch (format) {
        case 'json':
          return history;
        case 'csv':
          return sendFile(reply, rewardsAsCsv(job, history));
        case 'svg':
          return sendFile(reply, rewardsAsSvg(job, history));
        case 'png':
          return sendFile(reply, Buffer.from(renderSvg(rewardsAsSvg(job, history))));
      }
    },
  );
};

function negotiateFormat(header: string | undefined): Format {
  const type = negotiateType(header, PREFERRED_TYPES);
  const format = FORMATS.find((candidate) => TYPES[candidate] === type);
  if (format) return format;
  throw new ProblemError(
    'not-acceptable',
    `Accept is "${header?.slice(0, 80)}"; the rewards are available as ${Object.values(TYPES).join(', ')}.`,
  );
}
