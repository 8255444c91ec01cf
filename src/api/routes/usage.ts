import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { ProblemError } from '../../contract/problem.ts';
import { Ref } from '../../contract/schemas/common.ts';
import { MAX_USAGE_DAYS, Usage, UsageQuery } from '../../contract/schemas/usage.ts';
import { dayOf, readUsage } from '../../records/usage.ts';
import { readQuotas } from '../../tenancy/quota.ts';
import type { Caller } from '../auth/authenticator.ts';
import { countsAllTenants } from '../catalog/visible-work.ts';
import { responses } from '../http/route-schemas.ts';

const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 30;
/** In place of a tenant: all of them. */
const ALL = '*';

/** What tenants used, by day, and what their quotas leave. */
export const usage: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/v1/usage',
    {
      config: { scope: ['read', 'metrics:read'] },
      schema: {
        operationId: 'getUsage',
        summary: 'Get what the tenant used, by day (UTC), and what its quotas leave',
        tags: ['service'],
        querystring: UsageQuery,
        response: responses({ 200: Ref(Usage) }),
      },
    },
    async ({ caller, store, query }) => {
      const now = new Date();
      const tenant = chooseTenant(caller, store.tenant, query.tenant);
      const { from, to, days } = chooseDays(query, now, tenant === ALL ? 'all' : 'one');
      const [found, limits] = await Promise.all([
        readUsage(store.redis, store.keys, days, tenant === ALL ? null : tenant),
        tenant === store.tenant ? readQuotas(store, now) : null,
      ]);
      const data = found.map(({ engineMilliseconds, ...others }) => ({
        ...others,
        engineSeconds: engineMilliseconds / 1000,
      }));
      return { object: 'usage' as const, from, to, data, limits };
    },
  );
};

/** @throws ProblemError `forbidden` for another tenant without the scope */
function chooseTenant(caller: Caller | null, own: string, asked = own): string {
  if (asked === own || countsAllTenants(caller)) return asked;
  throw new ProblemError(
    'forbidden',
    `Usage of ${asked === ALL ? 'all tenants' : `the tenant "${asked}"`} requires a key with the scope ` +
      `metrics:read or admin; without \`tenant\` you get the usage of ${own}.`,
  );
}

/** The days that are asked for. @throws ProblemError `not-possible` for too many, or none */
function chooseDays(
  { from, to }: { readonly from?: string; readonly to?: string },
  now: Date,
  tenants: keyof typeof MAX_USAGE_DAYS,
): { readonly from: string; readonly to: string; readonly days: readonly string[] } {
  const last = Date.parse(to ?? dayOf(now));
  const first = from === undefined ? last - (DEFAULT_DAYS - 1) * DAY_MS : Date.parse(from);
  const count = (last - first) / DAY_MS + 1;
  const max = MAX_USAGE_DAYS[tenants];
  if (count < 1) throw badDays(`${dayOf(new Date(first))} is after ${dayOf(new Date(last))}`);
  if (count > max)
    throw badDays(
      `${count} days are more than ${max}, the most ${tenants === 'all' ? 'of all tenants' : ''}`,
    );
  const days = Array.from({ length: count }, (_, i) => dayOf(new Date(first + i * DAY_MS)));
  return { from: days[0], to: days[count - 1], days };
}

function badDays(what: string): ProblemError {
  const detail = `${what.trim()}. Choose a later \`from\` or another \`to\`.`;
  return new ProblemError('not-possible', detail, [{ pointer: '/from', message: what.trim() }]);
}
