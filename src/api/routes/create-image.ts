import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { Ref } from '../../contract/schemas/common.ts';
import { CreatedImages, CreateImageRequest } from '../../contract/schemas/create-image.ts';
import type { Image } from '../../contract/schemas/sample.ts';
import { jsonResponse, PreferHeader, responses } from '../http/route-schemas.ts';
import {
  checkImageRequest,
  isSearch,
  JSON_TYPE,
  negotiateAnswer,
  PICTURE_FORMATS,
} from '../images/image-request.ts';
import { awaitWork, findFinishedSample, startSampling, startSearch } from '../images/image-work.ts';
import { readImage } from '../images/read-image.ts';

const binary = { schema: Type.Unsafe<unknown>({ type: 'string', format: 'binary' }) };

/** Images for a prompt in one request, after OpenAI's `POST /images/generations`. */
export const createImage: FastifyPluginAsyncTypebox = async (app) => {
  const { services } = app;

  app.post(
    '/v1/images',
    {
      // A search needs jobs:write as well; `startSearch` checks it.
      config: { scope: 'samples:write', waitsForWork: true },
      schema: {
        operationId: 'createImage',
        summary: 'Make images for a prompt, and wait for them',
        description:
          'Searches for the prompt and samples `n` images from the learned distribution. ' +
          'With `policy`, it samples from that policy; with `"optimize": false`, from the base model. ' +
          'The answer waits up to 60 s: `Prefer: wait=SECONDS` for less, `Prefer: respond-async` for none. ' +
          'After the wait it is 202, and `Location` is the address of the job or sample. ' +
          'With `Accept: image/png` (or webp, jpeg) and one image, the answer is the image itself.',
        tags: ['samples'],
        headers: PreferHeader,
        body: Ref(CreateImageRequest),
        response: responses({
          200: {
            ...jsonResponse(CreatedImages, 'the images', 'location', 'preference-applied'),
            content: {
              [JSON_TYPE]: { schema: Ref(CreatedImages) },
              'image/png': binary,
              'image/webp': binary,
              'image/jpeg': binary,
            },
          },
          202: jsonResponse(
            CreatedImages,
            'the work is not finished',
            'location',
            'retry-after',
            'preference-applied',
          ),
        }),
      },
    },
    async (request, reply) => {
      const body = request.body as CreateImageRequest;
      const type = negotiateAnswer(request, body);
      checkImageRequest(body);
      const started = isSearch(body)
        ? await startSearch(services, request, body)
        : await startSampling(services, request, body);
      const work = await awaitWork(started, request, reply);
      const { id, status, createdAt, policyId } = work.record;
      reply.header('location', `/v1/${work.kind === 'job' ? 'jobs' : 'samples'}/${id}`);
      const sample = await findFinishedSample(work, request);
      if (!sample) reply.code(202).header('retry-after', '1');
      const [image] = sample?.images ?? [];
      if (image && type !== JSON_TYPE) {
        reply.type(type);
        return reply.send(await readImage(services, request, image.id, PICTURE_FORMATS[type]));
      }
      const viewImage = async ({ id, url, seed, index, reward }: Image) => {
        const origin = `${request.protocol}://${request.host}`;
        const bytes =
          body.response_format === 'b64_json'
            ? { b64_json: (await readImage(services, request, id, body.output_format)).toString('base64') }
            : { url: new URL(url, origin).href };
        return { id, ...bytes, seed, index, reward };
      };
      return {
        created: Math.floor(Date.parse(createdAt) / 1000),
        status,
        data: await Promise.all((sample?.images ?? []).map(viewImage)),
        job: work.kind === 'job' ? id : null,
        policy: policyId,
        sample: sample?.id ?? (work.kind === 'sample' ? id : null),
      };
    },
  );
};
