import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { JobRecord } from '../../contract/records.ts';
import { Job } from '../../contract/schemas/job.ts';
import { viewJob } from '../../contract/views.ts';
import { pauseJob, resumeJob } from '../../jobs/pause.ts';
import { retryJob } from '../../jobs/retry.ts';
import { answers, IdInPath, json } from '../responses.ts';

const tags = ['jobs'];

/** Pause, resume and retry optimisations. */
export const jobLifecycle: FastifyPluginAsyncTypebox = async (app) => {
  const { store: shared, blobs } = app.services;

  const view = async (record: JobRecord) =>
    viewJob(record, record.status === 'queued' ? await shared.queues.position('optimize', record.id) : null);

  app.post(
    '/v1/jobs/:id/pause',
    {
      schema: {
        operationId: 'pauseJob',
        summary: 'Pause a job: at once while it waits; one that runs checkpoints and gives its worker back',
        description:
          'A paused job keeps all that it has learnt, and no worker. One that runs is `running` until its worker has stopped, within one denoising step: follow its events, or hold `GET /v1/jobs/{id}` with `Prefer: wait`. Again: no change.',
        tags,
        params: IdInPath,
        response: answers({
          200: json(Job, 'it is paused'),
          202: json(Job, 'it will be as soon as its worker stops', 'retry-after'),
        }),
      },
    },
    async (request, reply) => {
      const job = await pauseJob(request.store, request.params.id);
      request.log.info('job pause requested');
      if (job.status !== 'paused') reply.code(202).header('retry-after', '1');
      return view(job);
    },
  );

  app.post(
    '/v1/jobs/:id/resume',
    {
      schema: {
        operationId: 'resumeJob',
        summary: 'Let a paused job go on from where it was, to the same bits',
        description: 'It waits for a worker like any other. Where it waits or runs already: no change.',
        tags,
        params: IdInPath,
        response: answers({ 200: json(Job, 'it waits or runs') }),
      },
    },
    async (request) => {
      const job = await resumeJob(request.store, request.params.id);
      request.log.info('job resumed');
      return view(job);
    },
  );

  app.post(
    '/v1/jobs/:id/retry',
    {
      schema: {
        operationId: 'retryJob',
        summary: 'Try a failed job again from its last checkpoint, to the same bits',
        description:
          'It keeps its id, what it has spent and learnt, and its place among the events; its policy so far stays until the new one replaces it.',
        tags,
        params: IdInPath,
        response: answers({ 202: json(Job, 'it waits for a worker', 'location', 'retry-after') }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const job = await retryJob(request.store, blobs, id, Date.now());
      request.log.info('job queued again');
      reply.code(202).header('location', `/v1/jobs/${id}`).header('retry-after', '1');
      return view(job);
    },
  );
};
