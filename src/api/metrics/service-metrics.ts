import { Counter, Gauge, Registry } from '@prometheus-io/client';
import type { Figure } from '../../queue/fair-scheduler.ts';
import type { QueueName } from '../../queue/queues.ts';
import type { ServiceFigures } from './service-figures.ts';

/** Label of tenants and models without a series: a name that none of them can have. */
export const OTHER = '(other)';

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

/**
 * The metrics of what all processes of a service share, made anew for each scrape. Every API
 * exports the same values, so queries take their maximum, not their sum.
 * @param figures null: they could not be read; then there is only `findery_redis_up`
 * @param now milliseconds since 1970
 */
export function serviceMetrics(figures: ServiceFigures | null, now: number): Registry {
  const registry = new Registry();
  const registers = [registry];
  /** A gauge without labels; null: no value, so no series. */
  const gauge = (name: string, help: string, value: number | null) => {
    if (value !== null) new Gauge({ name, help, registers }).set(value);
  };
  const gauges = (name: string, help: string, labelNames: string[], samples: readonly Sample[]) => {
    const metric = new Gauge({ name, help, labelNames, registers });
    for (const [labels, value] of samples) metric.set(labels, value);
  };
  const counters = (name: string, help: string, counts: readonly (readonly [string, number])[]) => {
    const metric = new Counter({ name, help, labelNames: ['status'], registers });
    for (const [status, value] of counts) metric.inc({ status }, value);
  };

  gauge('findery_redis_up', '1 if Redis told the figures that all processes share, else 0.', figures ? 1 : 0);
  if (!figures) return registry;
  const { redis, webhooks, ended } = figures;
  gauge('findery_redis_ping_seconds', 'Time from a PING to its answer.', redis.pingSeconds);
  gauge('findery_redis_memory_used_bytes', 'Memory that Redis uses.', redis.usedBytes);
  gauge('findery_redis_memory_max_bytes', 'Memory that Redis may use (maxmemory).', redis.maxBytes);
  gauge('findery_workers', 'Live workers.', figures.workers);
  gauge('findery_outbox_notices', 'Events whose deliveries are not created yet.', webhooks.notices);
  const lag = webhooks.oldestEvent === null ? 0 : secondsSince(webhooks.oldestEvent, now);
  gauge('findery_outbox_lag_seconds', 'Time since the oldest of these events.', lag);
  const pending = webhooks.deliveries;
  gauge('findery_webhook_pending_deliveries', 'Deliveries that wait or are under way.', pending);
  counters('findery_jobs_ended_total', 'Jobs that ended.', countsOf('job', ended));
  counters('findery_samples_ended_total', 'Batches of samples that ended.', countsOf('smp', ended));

  const queues = Object.entries(figures.queues) as [QueueName, ServiceFigures['queues'][QueueName]][];
  gauges(
    'findery_queue_entries',
    'Jobs, and batches of samples, that wait or run.',
    ['queue', 'state'],
    queues.flatMap(([queue, { waiting, active }]): Sample[] => [
      [{ queue, state: 'waiting' }, waiting],
      [{ queue, state: 'active' }, active],
    ]),
  );
  for (const label of ['tenant', 'model'] as const) {
    const listed = queues.map(([queue, load]) => ({ queue, ...load, figures: load[`${label}s`] }));
    gauges(
      `findery_queue_${label}_waiting`,
      `Waiting entries of a ${label}.`,
      ['queue', label],
      listed.flatMap(({ queue, waiting, figures }): Sample[] => [
        ...figures.map(([name, entries]): Sample => [{ queue, [label]: name }, entries]),
        [{ queue, [label]: OTHER }, restOf(waiting, figures)],
      ]),
    );
    gauges(
      `findery_queue_${label}_oldest_seconds`,
      `Time since the oldest waiting entry of a ${label} was enqueued.`,
      ['queue', label],
      listed.flatMap(({ queue, figures }) =>
        figures.flatMap(([name, , since]): Sample[] =>
          since === undefined ? [] : [[{ queue, [label]: name }, secondsSince(since, now)]],
        ),
      ),
    );
  }
  return registry;
}

/** Statuses with their numbers, of the fields that begin with this kind. */
function countsOf(kind: string, ended: ServiceFigures['ended']): (readonly [string, number])[] {
  return Object.entries(ended).flatMap(([field, count]) =>
    field.startsWith(`${kind}.`) ? [[field.slice(kind.length + 1), Number(count)] as const] : [],
  );
}

/** Waiting entries that no series has; those that wait for their next attempt are among them. */
function restOf(waiting: number, listed: readonly Figure[]): number {
  return Math.max(0, waiting - listed.reduce((sum, [, entries]) => sum + entries, 0));
}

function secondsSince(time: number, now: number): number {
  return Math.max(0, now - time) / 1000;
}
