import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import sharp from 'sharp';
import { Type } from 'typebox';
import { readStoredFile } from '../../jobs/stored-files.ts';
import { sha256Of } from '../../sha256.ts';
import { emptyResponse, fileResponse, IdInPath, responses } from '../http/route-schemas.ts';
import { isCached, sendRange } from '../http/send.ts';
import { ScaledImages } from '../images/scaled-images.ts';

const IMAGE_TYPES = ['image/png', 'image/webp', 'image/jpeg'];

/** Scaled images that this process keeps. */
const SCALED_BYTES = 64 * 2 ** 20;

/** The files of images. */
export const images: FastifyPluginAsyncTypebox = async (app) => {
  const { blobs } = app.services;
  const scaledImages = new ScaledImages(SCALED_BYTES);

  app.get(
    '/v1/images/:id',
    {
      schema: {
        operationId: 'getImage',
        summary: 'Get the file of an image; `?width=` scales it',
        tags: ['samples'],
        params: IdInPath,
        querystring: Type.Object(
          {
            width: Type.Optional(
              Type.Integer({
                minimum: 1,
                maximum: 2048,
                description: 'width in pixels; the aspect ratio is kept',
              }),
            ),
          },
          { additionalProperties: false },
        ),
        response: responses({
          200: fileResponse('the image', ...IMAGE_TYPES),
          206: fileResponse('the requested range of bytes', ...IMAGE_TYPES),
          304: emptyResponse('not modified'),
        }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { width } = request.query;
      const image = await request.store.images.get(id);
      const read = () => readStoredFile(blobs, { ...image, description: `image ${id}` });
      const bytes =
        width === undefined
          ? Buffer.from(await read())
          : await scaledImages.get([id, image.sha256, width].join(), async () =>
              sharp(await read())
                .resize({ width })
                .toBuffer(),
            );
      reply.header('accept-ranges', 'bytes');
      if (isCached(request, reply, `"${sha256Of(bytes).slice(0, 32)}"`)) return reply.code(304).send(null);
      reply.header('content-type', `image/${image.format}`);
      return sendRange(request, reply, bytes);
    },
  );
};
