import { newId } from '../../../src/contract/ids.ts';
import {
  type Attack,
  type AttackContext,
  forEachConcurrently,
  type Operation,
  request,
  sendAndCheck,
} from '../attack.ts';

/** Ids that might escape from a folder, from a Redis key or from a log. */
function hostileIds(context: AttackContext): string[] {
  const { jobs, policies } = context.resources;
  return [
    '..%2f..%2f..%2fetc%2fpasswd',
    '..%5c..%5cwindows',
    '%2e%2e%2f%2e%2e',
    '%252e%252e%252f',
    '..;/..;/etc',
    '.%00./etc',
    '....//....//etc',
    '%2fetc%2fpasswd',
    'file:%2f%2f%2fetc%2fpasswd',
    '%c0%ae%c0%ae%c0%af',
    '%ef%bc%8e%ef%bc%8e%ef%bc%8f',
    '%e2%80%ae%e2%81%a6',
    '%00',
    `${jobs}%00`,
    `${jobs}%0d%0aSet-Cookie:%20a`,
    `${jobs}%2f..%2f${policies}`,
    `${jobs}.safetensors`,
    jobs.toUpperCase(),
    `${jobs}%20`,
    '%ff%fe',
    '%',
    '%zz',
    '*',
    '%2a',
    '?',
    '[a-z]',
    'job_*',
    '__proto__',
    'constructor',
    'toString',
    'null',
    'undefined',
    '-1',
    '0',
    '1e309',
    '$where',
    "'%20or%201=1--",
    '%7b%7b7*7%7d%7d',
    '$%7bjndi:ldap:%2f%2fa%7d',
    '<script>alert(1)<%2fscript>',
    '%f0%9f%90%95'.repeat(20),
    'a'.repeat(128),
    'a'.repeat(129),
    'a'.repeat(8000),
    'findery:job:index',
    newId('job'),
    newId('pol'),
    newId('img'),
  ];
}

/** Hostile ids for every operation, cursors, queries, widths and ranges. */
export const urls: Attack = {
  name: 'URLs and ranges',
  async run(context) {
    const withIds = context.operations.filter(({ path }) => path.includes('{'));
    const cases = withIds.flatMap((operation) => {
      // All of them, or a random choice.
      const ids = hostileIds(context);
      const chosen =
        context.scale.idsEach >= ids.length
          ? ids
          : Array.from({ length: context.scale.idsEach }, () => context.random.pick(ids));
      return chosen.map((id) => [operation, id] as const);
    });
    await forEachConcurrently(cases, ([operation, id]) => requestHostileId(context, operation, id));
    await cursors(context);
    await pictures(context);
  },
};

/** Expects that the id does not exist, or that the URL is invalid. */
async function requestHostileId(
  context: AttackContext,
  { method, path, takesBody }: Operation,
  id: string,
): Promise<void> {
  const body = takesBody ? '{"prompt": "a dog", "url": "http://127.0.0.1:9/"}' : undefined;
  const headers = path.endsWith('/policies') ? ['Content-Type: application/octet-stream'] : [];
  const bytes = request(context, method, path.replace(/\{\w+\}/, id), { headers, body });
  // PUT accepts a new job id of the client. An id with a slash or "?" is the URL of another
  // operation.
  const statuses = [
    400,
    404,
    405,
    409,
    410,
    414,
    422,
    ...(method === 'PUT' ? [202] : []),
    ...(/[?/]/.test(id) ? [200, 202] : []),
  ];
  await sendAndCheck(context, `ids: ${method} ${path} with ${id.slice(0, 40)}`, bytes, statuses);
}

/** Hostile cursors, query parameters, static paths and event positions. */
async function cursors(context: AttackContext): Promise<void> {
  const { jobs } = context.resources;
  const lists = ['jobs', 'policies', 'webhook-endpoints', 'webhook-deliveries'];
  const values = [
    '',
    '..%2f',
    '%00',
    '%ff',
    '[',
    '(job_',
    'job_',
    '-',
    '+',
    'a'.repeat(9000),
    jobs,
    `${jobs}x`,
    newId('pol'),
    `job_${'z'.repeat(26)}`,
    `job_${'0'.repeat(26)}`,
  ];
  const forged = lists.flatMap((list) => values.map((value) => `/v1/${list}?after=${value}`));
  const queries = [
    ...['0', '-1', '101', '1e9', '1.5', 'NaN', 'Infinity', '0x10', '', '%00', '9'.repeat(400)].map(
      (limit) => `/v1/jobs?limit=${limit}`,
    ),
    '/v1/jobs?after=a&after=b',
    '/v1/jobs?after[$gt]=',
    '/v1/jobs?__proto__[limit]=1',
    '/v1/jobs?constructor.prototype.limit=1',
    '/v1/jobs?metadata.__proto__=a',
    '/v1/jobs?metadata.constructor=a',
    '/v1/jobs?metadata.=a',
    '/v1/jobs?status=queued%00',
    '/v1/jobs?%ff=%fe',
    '/v1/jobs?=',
    '/v1/jobs?&&&&',
    `/v1/jobs/${jobs}/rewards?sigma=1e308`,
    `/v1/jobs/${jobs}/rewards?sigma=NaN`,
    `/v1/jobs/${jobs}/rewards?sigma=-1`,
    `/v1/jobs/${jobs}/rewards?format=png`,
    `/v1/jobs/${jobs}/rewards?format=svg&sigma=100`,
    `/v1/jobs/${jobs}/rewards?format=__proto__`,
    '/v1/policies?model=..%2f..%2fetc',
    '/v1/webhook-deliveries?subjectId=%00&status=failed',
    '/docs/..%2f..%2f..%2fpackage.json',
    '/docs/static/..%2f..%2f..%2fpackage.json',
    '/docs/static/../../package.json',
    '/docs/static/%00',
    '/docs/static/%2e%2e/%2e%2e/package.json',
    '//etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/v1/jobs/%2e%2e/policies',
    '/v1//jobs',
    '/v1/jobs/',
    '/V1/JOBS',
    '/v1/jobs;a=b',
    '/v1/jobs#a',
  ];
  await forEachConcurrently([...forged, ...queries], async (path) => {
    const name = `queries: ${path.slice(0, 60)}`;
    const { responses } = await sendAndCheck(context, name, request(context, 'GET', path));
    const leaks = responses.some(({ body }) => /root:.*:0:0|"dependencies"/.test(body));
    context.findings.check(
      !leaks,
      'no local file is disclosed',
      name,
      responses[0]?.body.slice(0, 200) ?? '',
    );
  });
  const positions = [
    '',
    '0',
    '-1',
    '1-1',
    '9'.repeat(64),
    `${'9'.repeat(30)}-0`,
    '1-1-1',
    '%00',
    'a\u00ff',
    '$',
    '>',
    '+',
    '-',
  ];
  await forEachConcurrently(positions, async (position) => {
    const headers = [`Last-Event-ID: ${position}`];
    await sendAndCheck(
      context,
      `event streams: from ${position.slice(0, 20)}`,
      followRequest(context, jobs, headers),
    );
  });
}

/** A request for an event stream. Its first event counts as a response. */
function followRequest(context: AttackContext, job: string, headers: readonly string[]) {
  return { bytes: request(context, 'GET', `/v1/jobs/${job}/events`, { headers }), responses: 1 };
}

/** Hostile widths and byte ranges of images. */
async function pictures(context: AttackContext): Promise<void> {
  const path = `/v1/images/${context.resources.images}`;
  const widths: [string, number][] = [
    ...['0', '-1', '1e9', '1000000000', '2049', '1.5', 'NaN', '', '%00', '64px', '9'.repeat(300)].map(
      (width): [string, number] => [`?width=${width}`, 400],
    ),
    ['?width=64&width=65', 400],
    ['?width[]=64', 400],
    ['?height=0', 400],
    ['?width=1', 200],
    ['?width=2048', 200],
  ];
  await forEachConcurrently(widths, ([query, status]) =>
    sendAndCheck(context, `widths: ${query.slice(0, 30)}`, request(context, 'GET', `${path}${query}`), [
      status,
    ]),
  );
  const ranges: [string, number[]][] = [
    ['bytes=0-0', [206]],
    ['bytes=-1', [206]],
    ['bytes=0-99999999999999999999', [206]],
    ['bytes=99999999999999999999-', [416]],
    ['bytes=5-1', [416, 200]],
    ['bytes=--1', [200, 416]],
    ['bytes=-0', [200, 416]],
    ['bytes=a-b', [200, 416]],
    ['bytes', [200, 416]],
    ['lines=0-1', [200, 416]],
    [`bytes=${'0-,'.repeat(3000)}0-`, [200]],
    [`bytes=${Array.from({ length: 1300 }, (_, i) => `${i}-${i}`).join()}`, [200, 206]],
    ['bytes=0-0,0-0,0-0', [200, 206]],
    ['bytes=NaN-Infinity', [200, 416]],
  ];
  await forEachConcurrently(ranges, ([range, statuses]) =>
    sendAndCheck(
      context,
      `ranges: ${range.slice(0, 30)}`,
      request(context, 'GET', path, { headers: [`Range: ${range}`] }),
      statuses,
    ),
  );
}
