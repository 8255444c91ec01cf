import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Job } from '../../contract/schemas/job.ts';
import { pauseJob, resumeJob, retryJob } from '../../jobs/lifecycle.ts';
import { IdInPath, jsonResponse, responses } from '../http/route-schemas.ts';
import { viewCurrentJob } from '../jobs/send-job.ts';

const tags = ['jobs'];

/** Pause, resume and retry jobs. */
export const jobLifecycle: FastifyPluginAsyncTypebox = async (app) => {
  const { blobs } = app.services;

  app.post(
    '/v1/jobs/:id/pause',
    {
      schema: {
        operationId: 'pauseJob',
        summary: 'Pause a job: at once while it waits; a running job checkpoints and frees its worker',
        description:
          'A paused job keeps what it has learned and occupies no worker. Pausing is asynchronous: a ' +
          'running job stays `running` until its checkpoint is stored, within one denoising step. ' +
          'Follow its events, or hold `GET /v1/jobs/{id}` with `Prefer: wait`. ' +
          'Repeating the request changes nothing.',
        tags,
        params: IdInPath,
        response: responses({
          200: jsonResponse(Job, 'the job is paused'),
          202: jsonResponse(Job, 'the job will be paused when its worker stops', 'retry-after'),
        }),
      },
    },
    async (request, reply) => {
      const job = await pauseJob(request.store, request.params.id);
      request.log.info('job pause requested');
      if (job.status !== 'paused') reply.code(202).header('retry-after', '1');
      return viewCurrentJob(request.store, job);
    },
  );

  app.post(
    '/v1/jobs/:id/resume',
    {
      schema: {
        operationId: 'resumeJob',
        summary: 'Resume a paused job; its result is the same, bit for bit, as without the pause',
        description: 'The job waits for a worker. If it waits or runs already, nothing changes.',
        tags,
        params: IdInPath,
        response: responses({ 200: jsonResponse(Job, 'the job waits or runs') }),
      },
    },
    async (request) => {
      const job = await resumeJob(request.store, request.params.id);
      request.log.info('job resumed');
      return viewCurrentJob(request.store, job);
    },
  );

  app.post(
    '/v1/jobs/:id/retry',
    {
      schema: {
        operationId: 'retryJob',
        summary: 'Retry a failed job from its last checkpoint; its result is the same, bit for bit',
        description:
          'The job keeps its id, its progress and its events. ' +
          'Its policy so far stays until the new one replaces it.',
        tags,
        params: IdInPath,
        response: responses({
          202: jsonResponse(Job, 'the job waits for a worker', 'location', 'retry-after'),
        }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const job = await retryJob(request.store, blobs, id, Date.now());
      request.log.info('job queued again');
      reply.code(202).header('location', `/v1/jobs/${id}`).header('retry-after', '1');
      return viewCurrentJob(request.store, job);
    },
  );
};
