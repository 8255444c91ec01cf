import { newId } from '../../../src/contract/ids.ts';
import { type Arena, type Attack, attack, each, type Operation, request } from '../arena.ts';

/** What might get out of a folder, of a key in Redis, or of a log, where an id is expected. */
function hostileIds(arena: Arena): string[] {
  const { jobs, policies } = arena.things;
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

/** Addresses: ids of every route of the contract, cursors, queries, ranges. */
export const addresses: Attack = {
  name: 'addresses',
  async run(arena) {
    const places = arena.operations.filter(({ path }) => path.includes('{'));
    const cases = places.flatMap((operation) => {
      // All of them where there is time; else some others in each round.
      const ids = hostileIds(arena);
      const chosen =
        arena.scale.idsEach >= ids.length
          ? ids
          : Array.from({ length: arena.scale.idsEach }, () => arena.chance.one(ids));
      return chosen.map((id) => [operation, id] as const);
    });
    await each(cases, ([operation, id]) => ask(arena, operation, id));
    await cursors(arena);
    await pictures(arena);
  },
};

/** Nothing is there under such an id, or it can't even be read as an address. */
async function ask(arena: Arena, { method, path, takesBody }: Operation, id: string): Promise<void> {
  const body = takesBody ? '{"prompt": "a dog", "url": "http://127.0.0.1:9/"}' : undefined;
  const headers = path.endsWith('/policies') ? ['Content-Type: application/octet-stream'] : [];
  const bytes = request(arena, method, path.replace(/\{\w+\}/, id), { headers, body });
  // PUT takes an id of the client's own, and that of a job to come is a good one; what follows a slash or a "?" is another address.
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
  await attack(arena, `ids: ${method} ${path} with ${id.slice(0, 40)}`, bytes, statuses);
}

async function cursors(arena: Arena): Promise<void> {
  const { jobs } = arena.things;
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
  await each([...forged, ...queries], async (path) => {
    const name = `queries: ${path.slice(0, 60)}`;
    const { answers } = await attack(arena, name, request(arena, 'GET', path));
    const leaks = answers.some(({ body }) => /root:.*:0:0|"dependencies"/.test(body));
    arena.tally.check(
      !leaks,
      'no file of the machine is handed out',
      name,
      answers[0]?.body.slice(0, 200) ?? '',
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
  await each(positions, async (position) => {
    const headers = [`Last-Event-ID: ${position}`];
    await attack(arena, `event streams: from ${position.slice(0, 20)}`, followFor(arena, jobs, headers));
  });
}

/** A stream is there as soon as its first event is. */
function followFor(arena: Arena, job: string, headers: readonly string[]) {
  return { bytes: request(arena, 'GET', `/v1/jobs/${job}/events`, { headers }), answers: 1 };
}

async function pictures(arena: Arena): Promise<void> {
  const path = `/v1/images/${arena.things.images}`;
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
  await each(widths, ([query, status]) =>
    attack(arena, `widths: ${query.slice(0, 30)}`, request(arena, 'GET', `${path}${query}`), [status]),
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
  await each(ranges, ([range, statuses]) =>
    attack(
      arena,
      `ranges: ${range.slice(0, 30)}`,
      request(arena, 'GET', path, { headers: [`Range: ${range}`] }),
      statuses,
    ),
  );
}
