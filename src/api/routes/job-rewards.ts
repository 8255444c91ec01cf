import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ProblemError } from '../../contract/problem.ts';
import { Link, OneOf } from '../../contract/schemas/common.ts';
import { RewardHistory } from '../../contract/schemas/job.ts';
import { byName, termNames } from '../../jobs/resolve-bundles.ts';
import { gaussianSmooth, mean } from '../../numerics/statistics.ts';
import { renderSvg } from '../../pictures/render-svg.ts';
import { rewardCurve } from '../../pictures/reward-curve.ts';
import { negotiateType } from '../content-negotiation.ts';
import { answers, IdInPath } from '../responses.ts';

const TYPES = { json: 'application/json', csv: 'text/csv', svg: 'image/svg+xml', png: 'image/png' } as const;
type Format = keyof typeof TYPES;
const FORMATS = Object.keys(TYPES) as Format[];
/** Which form who takes several gets: who takes any picture, the one that every program can show. */
const PREFERENCE = [TYPES.json, TYPES.csv, TYPES.png, TYPES.svg];

/** Every draw's reward: as data, as a table, and as the paper's plot. */
export const jobRewards: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/v1/jobs/:id/rewards',
    {
      schema: {
        operationId: 'getJobRewards',
        summary:
          'Rewards of the search: JSON, CSV, or the curve (dashed raw, Gaussian-smoothed) as SVG or PNG',
        tags: ['jobs'],
        params: IdInPath,
        querystring: Type.Object(
          {
            format: Type.Optional(OneOf(FORMATS, { description: 'instead of `Accept`' })),
            sigma: Type.Optional(
              Type.Number({
                minimum: 0,
                maximum: 100,
                default: 3,
                description: 'of the Gaussian, in iterations',
              }),
            ),
          },
          { additionalProperties: false },
        ),
        response: answers({
          200: {
            description: 'the rewards',
            content: {
              'application/json': { schema: Link(RewardHistory) },
              ...Object.fromEntries(
                FORMATS.filter((format) => format !== 'json').map((format) => [
                  TYPES[format],
                  { schema: Type.Unsafe<unknown>({ type: 'string' }) },
                ]),
              ),
            },
          },
        }),
      },
    },
    async (request, reply) => {
      const { format = accepted(request.headers.accept), sigma = 3 } = request.query as {
        format?: Format;
        sigma?: number;
      };
      const { store } = request;
      const job = await store.jobs.get(request.params.id);
      const rewards = await store.jobs.rewards(job.id);
      const names = termNames(job.reward);
      const byIteration = Map.groupBy(rewards, ({ iteration }) => iteration);
      const means = [...byIteration.values()].map((draws) => mean(draws.map(({ reward }) => reward)));
      const smoothed = means.length > 0 ? [...gaussianSmooth(means, sigma)] : [];
      reply
        .header('content-type', format === 'csv' ? 'text/csv; charset=utf-8' : TYPES[format])
        .header('vary', 'accept');
      // The declared answer is the JSON one; the others are files.
      const sendFile = (body: string | Buffer) => reply.send(body as never);
      switch (format) {
        case 'json': {
          const iterations = [...byIteration.keys()].map((iteration, i) => ({
            iteration,
            mean: means[i],
            smoothed: smoothed[i],
          }));
          return reply.send({
            jobId: job.id,
            sigma,
            data: rewards.map(({ iteration, reward, terms }, i) => ({
              image: i + 1,
              iteration,
              reward,
              ...(names ? { terms: byName(names, terms) } : {}),
            })),
            iterations,
          });
        }
        case 'csv': {
          const order = new Map([...byIteration.keys()].map((iteration, i) => [iteration, i]));
          const lines = rewards.map(
            ({ iteration, reward, terms }, i) =>
              `${[i + 1, iteration, reward, smoothed[order.get(iteration) ?? 0], ...(names ? terms : [])]}`,
          );
          return sendFile(
            `${[['image', 'iteration', 'reward', 'smoothed', ...(names ?? []).map((name) => `terms.${name}`)].join(), ...lines].join('\n')}\n`,
          );
        }
        default: {
          const svg = rewardCurve({ rewards: means, smoothed, title: job.prompt, sigma });
          return sendFile(format === 'svg' ? svg : Buffer.from(renderSvg(svg)));
        }
      }
    },
  );
};

function accepted(header: string | undefined): Format {
  const type = negotiateType(header, PREFERENCE);
  const format = FORMATS.find((candidate) => TYPES[candidate] === type);
  if (format) return format;
  throw new ProblemError(
    'not-acceptable',
    `Accept is "${header?.slice(0, 80)}"; the rewards can be had as ${Object.values(TYPES).join(', ')}.`,
  );
}
