import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import parseRange from 'range-parser';
import sharp from 'sharp';
import { Type } from 'typebox';
import { ProblemError } from '../../contract/problem.ts';
import { toDamageProblem } from '../../jobs/damage.ts';
import { sha256Of } from '../../sha256.ts';
import { answers, file, IdInPath } from '../responses.ts';

/** The pictures themselves. */
export const images: FastifyPluginAsyncTypebox = async (app) => {
  const { blobs } = app.services;

  app.get(
    '/v1/images/:id',
    {
      schema: {
        operationId: 'getImage',
        summary: 'A picture; `?width=` scales it',
        tags: ['samples'],
        params: IdInPath,
        querystring: Type.Object(
          {
            width: Type.Optional(
              Type.Integer({ minimum: 1, maximum: 2048, description: 'pixels; the proportions stay' }),
            ),
          },
          { additionalProperties: false },
        ),
        response: answers({
          200: file('the picture', 'image/png', 'image/webp', 'image/jpeg'),
          206: file('a part of it', 'image/png', 'image/webp', 'image/jpeg'),
          304: { description: 'not modified', type: 'null' },
        }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { width } = request.query;
      const image = await request.store.images.get(id);
      const stored = await blobs.get(image.key, { sha256: image.sha256 }).catch(toDamageProblem);
      if (!stored)
        throw new ProblemError(
          'not-found',
          `The bytes of image ${id} are not in storage; was FINDERY_DATA changed or cleared?`,
        );
      const bytes =
        width === undefined ? Buffer.from(stored) : await sharp(stored).resize({ width }).toBuffer();

      const etag = `"${sha256Of(bytes).slice(0, 32)}"`;
      reply
        .header('etag', etag)
        .header('cache-control', 'private, max-age=31536000, immutable')
        .header('accept-ranges', 'bytes');
      if (request.headers['if-none-match']?.includes(etag)) return reply.code(304).send(null);
      reply.header('content-type', `image/${image.format}`);

      const range = request.headers.range ? parseRange(bytes.length, request.headers.range) : -2;
      if (range === -1) {
        reply.header('content-range', `bytes */${bytes.length}`);
        throw new ProblemError(
          'range-not-satisfiable',
          `The range "${request.headers.range}" lies outside of the ${bytes.length} bytes.`,
        );
      }
      // Several ranges, or none that can be read: the whole, as RFC 9110 allows.
      if (range === -2 || range.length !== 1 || range.type !== 'bytes') return reply.send(bytes);
      const [{ start, end }] = range;
      reply.code(206).header('content-range', `bytes ${start}-${end}/${bytes.length}`);
      return reply.send(bytes.subarray(start, end + 1));
    },
  );
};
