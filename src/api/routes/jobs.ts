import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ChosenId, Nullable, Ref } from '../../contract/schemas/common.ts';
import {
  CancelRequest,
  FINAL_STATUSES,
  Job,
  JobPage,
  JobQuery,
  JobRequest,
} from '../../contract/schemas/job.ts';
import { cancelJob } from '../../jobs/lifecycle.ts';
import { checkClientId } from '../../jobs/submit.ts';
import { MAX_SKIPPED } from '../../records/records.ts';
import { JobReader } from '../../store/job-reader.ts';
import { digestOf, reserveId } from '../http/idempotency.ts';
import { type WorkQuery, workFilter } from '../http/list-filter.ts';
import { preferredWait, readWhen } from '../http/prefer.ts';
import { IdInPath, jsonResponse, PreferHeader, responses } from '../http/route-schemas.ts';
import { jsonText } from '../http/send.ts';
import { createJob, prepareJob } from '../jobs/create-job.ts';
import { acceptJob, sendJob, viewCurrentJob } from '../jobs/send-job.ts';

const tags = ['jobs'];
const ACCEPTED = responses({
  202: jsonResponse(
    Job,
    'the job is queued, or was created by an earlier request',
    'location',
    'retry-after',
    'preference-applied',
  ),
});

/** Jobs: create, list, read, cancel. */
export const jobs: FastifyPluginAsyncTypebox = async (app) => {
  const { services } = app;
  const reader = new JobReader(services.store);

  app.post(
    '/v1/jobs',
    {
      schema: {
        operationId: 'createJob',
        summary: 'Create a job: an optimization for one prompt',
        tags,
        headers: PreferHeader,
        body: Ref(JobRequest),
        response: ACCEPTED,
      },
    },
    async (request, reply) => {
      const body = request.body as JobRequest;
      const { id, isNew } = reserveId(request, 'job');
      const prepare = () => prepareJob(services, body);
      const created = await createJob(request, { id, mayExist: !isNew, prepare });
      return sendJob(request, reply, id, created);
    },
  );

  app.put(
    '/v1/jobs/:id',
    {
      schema: {
        operationId: 'putJob',
        summary: 'Create a job under an id that you choose',
        description:
          'Idempotent: the same body gives the same job, another body gives 422. Use `job_` and a ULID in ' +
          'lower case, because lists are sorted by id. An id that is taken by something else gives 409.',
        tags,
        headers: PreferHeader,
        params: Type.Object({ id: ChosenId('job', 'the job') }),
        body: Ref(JobRequest),
        response: ACCEPTED,
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const body = request.body as JobRequest;
      const created = await createJob(request, {
        id,
        mayExist: true,
        digest: digestOf(body),
        prepare: async () => {
          await checkClientId(request.store, id);
          return prepareJob(services, body);
        },
      });
      return sendJob(request, reply, id, created);
    },
  );

  app.get(
    '/v1/jobs',
    {
      schema: {
        operationId: 'listJobs',
        summary: 'List jobs, newest first',
        description:
          'Besides the parameters below, `metadata.KEY=VALUE` selects jobs whose metadata has this pair. ' +
          'Several pairs must all match.',
        tags,
        querystring: JobQuery,
        response: responses({ 200: Ref(JobPage) }),
      },
    },
    async (request) => {
      const query = request.query as WorkQuery;
      const { limit = 20, after } = query;
      const { data, ...page } = await request.store.jobs.list({
        limit,
        after,
        filter: workFilter(query),
        maxSkipped: MAX_SKIPPED,
      });
      const visible = data.map((record) => viewCurrentJob(request.store, record));
      return { data: await Promise.all(visible), ...page };
    },
  );

  app.get(
    '/v1/jobs/:id',
    {
      schema: {
        operationId: 'getJob',
        summary: 'Get a job; `Prefer: wait=30` holds the response until its status changes',
        tags,
        params: IdInPath,
        headers: PreferHeader,
        response: responses({ 200: jsonResponse(Job, 'the job', 'preference-applied') }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { store } = request;
      const read = await reader.read(store, id);
      const { status } = read.record;
      const milliseconds = FINAL_STATUSES.includes(status) ? 0 : preferredWait(request, reply);
      if (milliseconds === 0) return jsonText<Job>(reply, read.json);
      const record = await readWhen(request, reply, {
        id,
        milliseconds,
        read: () => store.jobs.get(id),
        isReached: (job) => job.status !== status,
      });
      return viewCurrentJob(store, record);
    },
  );

  app.post(
    '/v1/jobs/:id/cancel',
    {
      config: { makesRoom: true },
      schema: {
        operationId: 'cancelJob',
        summary: 'Cancel a job: at once while it waits, within one denoising step while it runs',
        tags,
        params: IdInPath,
        body: Nullable(Ref(CancelRequest)),
        response: responses({
          200: jsonResponse(Job, 'the job is canceled'),
          202: jsonResponse(Job, 'the job will be canceled when its worker stops', 'retry-after'),
        }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { keepPartial = false } = (request.body as CancelRequest | null) ?? {};
      const now = new Date().toISOString();
      const job = await cancelJob(request.store, services.blobs, id, { keepPartial, now });
      request.log.info({ keepPartial }, 'job cancel requested');
      if (!FINAL_STATUSES.includes(job.status)) acceptJob(reply, job.status);
      return viewCurrentJob(request.store, job);
    },
  );
};
