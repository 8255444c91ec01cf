import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { newId } from '../../contract/ids.ts';
import { ProblemError } from '../../contract/problem.ts';
import type { JobRecord } from '../../contract/records.ts';
import { Id, Link, Nullable } from '../../contract/schemas/common.ts';
import {
  CancelRequest,
  FINAL_STATUSES,
  Job,
  JobPage,
  JobQuery,
  JobRequest,
} from '../../contract/schemas/job.ts';
import { newJobJson, viewJob } from '../../contract/views.ts';
import { cancelJob } from '../../jobs/cancel.ts';
import { checkClientId } from '../../jobs/own-id.ts';
import { ensureQueued } from '../../jobs/requeue.ts';
import { resolveJob } from '../../jobs/resolve-request.ts';
import { submitJob } from '../../jobs/submit.ts';
import { MAX_SKIPPED } from '../../records/records.ts';
import { JobReader } from '../../store/job-reader.ts';
import type { TenantStore } from '../../store/store.ts';
import { type ValidatedWebhook, validateJobWebhook } from '../../webhooks/validate-target.ts';
import { SECRETS, type SigningSecret } from '../../webhooks/webhook-store.ts';
import { digestOf, reserveKey } from '../idempotency.ts';
import { goneSignal, preferredWait } from '../plugins/prefer.ts';
import { answers, IdInPath, json, PreferHeader } from '../responses.ts';

const tags = ['jobs'];
/** Of an answer that is text already. */
const JSON_TYPE = 'application/json; charset=utf-8';
const CreateHeaders = Type.Object({
  ...PreferHeader.properties,
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      description: 'makes a retry safe: the same key and body give the same job, for a day',
    }),
  ),
});

/** Queue, look at, list and cancel optimisations. */
export const jobs: FastifyPluginAsyncTypebox = async (app) => {
  const { store: shared, blobs, catalog, closing, config } = app.services;

  const reader = new JobReader(shared);

  const view = async (record: JobRecord) =>
    viewJob(record, record.status === 'queued' ? await shared.queues.position('optimize', record.id) : null);

  /** The job as soon as `isReached`, or as it is when the time is over. */
  const wait = async (
    store: TenantStore,
    id: string,
    milliseconds: number,
    isReached: (job: JobRecord) => boolean,
    reply: FastifyReply,
  ) => {
    if (milliseconds > 0) {
      await store.changes.until(
        id,
        milliseconds,
        async () => {
          const job = await store.jobs.get(id);
          return isReached(job) ? job : null;
        },
        goneSignal(reply.raw, closing),
      );
    }
    return store.jobs.get(id);
  };

  const toldOf = ({ webhook }: JobRequest) =>
    webhook ? validateJobWebhook(webhook, config.webhookAllow) : null;

  const submit = (
    id: string,
    { settings, warnings }: ReturnType<typeof resolveJob>,
    told: ValidatedWebhook | null,
    request: FastifyRequest,
    digest?: string,
  ) => {
    const now = new Date().toISOString();
    return submitJob(request.store, settings, { id, warnings, requestId: request.id, now, digest, told });
  };

  /** A crash may have come between record and queue; one that is in the queue is not queued twice. */
  const ensureWaiting = async (store: TenantStore, job: JobRecord) => {
    if (job.status === 'queued') await ensureQueued(store, job);
  };

  /**
   * The job that was asked for, when it has ended or as it is when the time of `Prefer: wait` is over.
   * @param made by this request: then it is known, and need not be read again to be shown as it was accepted
   */
  const answer = async (
    id: string,
    request: FastifyRequest,
    reply: FastifyReply,
    made: Awaited<ReturnType<typeof submitJob>> | null,
  ) => {
    const { store } = request;
    const hasEnded = ({ status }: JobRecord) => FINAL_STATUSES.includes(status);
    const milliseconds = preferredWait(request, reply);
    const asked = (request.body as JobRequest).webhook;
    reply.header('location', `/v1/jobs/${id}`);
    if (made?.isNew && milliseconds === 0 && !asked) {
      accepted(reply, 'queued').type(JSON_TYPE);
      return newJobJson(made.shown, id, made.position) as never;
    }
    const job = await view(await wait(store, id, milliseconds, hasEnded, reply));
    // Whoever sends the request again has perhaps not got the first answer.
    if (job.webhook && asked && asked.secret === undefined) {
      const made = await store.jobs.hidden<SigningSecret[]>(id, SECRETS);
      if (made) job.webhook = { ...job.webhook, secret: made[0].secret };
    }
    accepted(reply, job.status);
    return job;
  };

  app.post(
    '/v1/jobs',
    {
      schema: {
        operationId: 'createJob',
        summary: 'Queue an optimisation',
        tags,
        headers: CreateHeaders,
        body: Link(JobRequest),
        response: answers({ 202: json(Job, 'accepted', 'location', 'retry-after', 'preference-applied') }),
      },
    },
    async (request, reply) => {
      const { store } = request;
      const body = request.body as JobRequest;
      const resolved = resolveJob(body, await catalog.now());
      const told = toldOf(body);
      const key = request.headers['idempotency-key'];
      const claimed =
        key === undefined ? { id: newId('job'), isNew: true } : await reserveKey(store, 'job', key, body);
      const known = claimed.isNew ? null : await store.jobs.find(claimed.id);
      if (known) await ensureWaiting(store, known);
      const made = known ? null : await submit(claimed.id, resolved, told, request);
      return answer(claimed.id, request, reply, made);
    },
  );

  app.put(
    '/v1/jobs/:id',
    {
      schema: {
        operationId: 'putJob',
        summary: 'Queue an optimisation under an id of your own',
        description:
          'Safe to send again: the same body gives the same job, another body 422. Take a ULID in lower case after `job_`: lists are in the order of ids. An id that is taken otherwise gives 409.',
        tags,
        headers: PreferHeader,
        params: Type.Object({ id: Id('job', 'the job, chosen by you') }),
        body: Link(JobRequest),
        response: answers({ 202: json(Job, 'accepted', 'location', 'retry-after', 'preference-applied') }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { store } = request;
      const body = request.body as JobRequest;
      const digest = digestOf(body);
      const known = await store.jobs.find(id);
      if (known) await ensureWaiting(store, known);
      else {
        await checkClientId(store, id);
        await submit(id, resolveJob(body, await catalog.now()), toldOf(body), request, digest);
      }
      // Of two at once with one id, the first stands.
      if ((known ?? (await store.jobs.get(id))).digest !== digest) {
        throw new ProblemError(
          'idempotency-mismatch',
          `There is a job ${id} already, of another request; take a new id for a new request.`,
        );
      }
      return answer(id, request, reply, null);
    },
  );

  app.get(
    '/v1/jobs',
    {
      schema: {
        operationId: 'listJobs',
        summary: 'Jobs, newest first',
        description:
          'Beside the parameters below, `metadata.KEY=VALUE` keeps the jobs whose metadata has this pair; several must all fit.',
        tags,
        querystring: JobQuery,
        response: answers({ 200: Link(JobPage) }),
      },
    },
    async (request) => {
      const {
        limit = 20,
        after,
        status,
        model,
        ...rest
      } = request.query as {
        limit?: number;
        after?: string;
        status?: string;
        model?: string;
        [name: string]: unknown;
      };
      const wanted = Object.entries(rest).map(([name, value]) => {
        if (name.startsWith('metadata.')) return [name.slice('metadata.'.length), String(value)] as const;
        throw new ProblemError(
          'bad-request',
          `The query has "${name}", which is not known here; there are limit, after, status, model and metadata.KEY.`,
          [{ pointer: `/${name}`, message: 'is not known here' }],
        );
      });
      const accept = (job: JobRecord) =>
        (status === undefined || job.status === status) &&
        (model === undefined || job.model === model) &&
        wanted.every(([key, value]) => job.metadata[key] === value);
      const { data, ...page } = await request.store.jobs.list({
        limit,
        after,
        accept,
        mostPassed: MAX_SKIPPED,
      });
      return { data: await Promise.all(data.map(view)), ...page };
    },
  );

  app.get(
    '/v1/jobs/:id',
    {
      schema: {
        operationId: 'getJob',
        summary: 'A job; `Prefer: wait=30` holds the answer until its status changes',
        tags,
        params: IdInPath,
        headers: PreferHeader,
        response: answers({ 200: json(Job, 'the job', 'preference-applied') }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { store } = request;
      const read = await reader.read(store, id);
      const { status } = read.record;
      const milliseconds = FINAL_STATUSES.includes(status) ? 0 : preferredWait(request, reply);
      if (milliseconds > 0)
        return view(await wait(store, id, milliseconds, (job) => job.status !== status, reply));
      // The text of an answer is made once for all who ask for a job that did not change.
      read.shown.text ??= JSON.stringify(viewJob(read.record, read.position));
      reply.type(JSON_TYPE);
      return read.shown.text as never;
    },
  );

  app.post(
    '/v1/jobs/:id/cancel',
    {
      schema: {
        operationId: 'cancelJob',
        summary: 'Cancel a job: at once while it waits, within one denoising step while it runs',
        tags,
        params: IdInPath,
        body: Nullable(Link(CancelRequest)),
        response: answers({
          200: json(Job, 'it is canceled'),
          202: json(Job, 'it will be as soon as its worker stops', 'retry-after'),
        }),
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { keepPartial = false } = (request.body as { keepPartial?: boolean } | null) ?? {};
      const job = await cancelJob(request.store, blobs, id, { keepPartial, now: new Date().toISOString() });
      request.log.info({ keepPartial }, 'job cancel requested');
      if (FINAL_STATUSES.includes(job.status)) return view(job);
      accepted(reply, job.status);
      return view(job);
    },
  );
};

function accepted(reply: FastifyReply, status: JobRecord['status']): FastifyReply {
  if (!FINAL_STATUSES.includes(status)) reply.header('retry-after', '1');
  return reply.code(202);
}
