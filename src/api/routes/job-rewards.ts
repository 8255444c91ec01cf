import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ProblemError } from '../../contract/problem.ts';
import type { JobRecord } from '../../contract/records.ts';
import { OneOf, Ref } from '../../contract/schemas/common.ts';
import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import { RewardHistory } from '../../contract/schemas/reward-history.ts';
import { renderSvgInPool } from '../../pictures/svg-renderer.ts';
import { sha256Of } from '../../sha256.ts';
import { VERSION } from '../../version.ts';
import { negotiateType } from '../http/content-negotiation.ts';
import { emptyResponse, IdInPath, responses } from '../http/route-schemas.ts';
import { isCached, REVALIDATED, sendFile, sendPieces } from '../http/send.ts';
import { rewardsAsCsv, rewardsAsJson, rewardsAsSvg } from '../jobs/reward-history.ts';

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
          304: emptyResponse('the job has ended, and the client has its rewards already'),
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
      reply.header('vary', 'accept');
      if (FINAL_STATUSES.includes(job.status)) {
        if (isCached(request, reply, etagOf(job, format, sigma), REVALIDATED))
          return reply.code(304).send(null);
      }
      reply.header('content-type', format === 'csv' ? 'text/csv; charset=utf-8' : TYPES[format]);
      const search = { job, sigma, read: (limit?: number) => jobs.rewardPages(job.id, limit) };
      switch (format) {
        case 'json':
          return sendPieces(reply, rewardsAsJson(search));
        case 'csv':
          return sendPieces(reply, rewardsAsCsv(search));
        case 'svg':
          return sendFile(reply, await rewardsAsSvg(search));
        case 'png':
          return sendFile(reply, Buffer.from(await renderSvgInPool(await rewardsAsSvg(search))));
      }
    },
  );
};

/**
 * The ETag of a job that has ended. A retry that goes on has other rewards; one that repeats the
 * search has the same, and the same ETag.
 */
function etagOf({ id, rewards, progress }: JobRecord, format: Format, sigma: number): string {
  const content = JSON.stringify([VERSION, id, rewards, progress.images, format, sigma]);
  return `"${sha256Of(content).slice(0, 32)}"`;
}

function negotiateFormat(header: string | undefined): Format {
  const type = negotiateType(header, PREFERRED_TYPES);
  const format = FORMATS.find((candidate) => TYPES[candidate] === type);
  if (format) return format;
  throw new ProblemError(
    'not-acceptable',
    `Accept is "${header?.slice(0, 80)}"; the rewards are available as ${Object.values(TYPES).join(', ')}.`,
  );
}
