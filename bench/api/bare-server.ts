import { Queue } from 'bullmq';
import Fastify from 'fastify';
import { Redis } from 'ioredis';

/**
 * The peer of the API benchmarks: the bare cost of fastify and BullMQ. `POST /v1/jobs` calls
 * `queue.add` with the body and answers the id; `GET /v1/jobs/:id` answers the job of
 * `queue.getJob`. No validation, no records, no log. Uses the Redis of REDIS_URL with the key
 * prefix `bare`.
 */
const redis = new Redis(process.env.REDIS_URL ?? '', { maxRetriesPerRequest: null });
const queue = new Queue('bare', { connection: redis, prefix: 'bare' });
const app = Fastify();

app.post('/v1/jobs', async (request, reply) => {
  const job = await queue.add('bare', request.body);
  return reply.code(202).send({ id: job.id });
});
app.get<{ Params: { id: string } }>('/v1/jobs/:id', async (request, reply) => {
  const job = await queue.getJob(request.params.id);
  if (!job) return reply.code(404).send({ id: request.params.id });
  const { id, name, data, opts, timestamp, attemptsMade } = job;
  return { id, name, data, opts, timestamp, attemptsMade };
});

process.send?.({ url: await app.listen({ host: '127.0.0.1', port: 0 }) });
process.on('disconnect', () => process.exit(0));
