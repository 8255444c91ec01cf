import { type Arena, type Attack, attack, each, request } from '../arena.ts';

/** No answer at all, where one could be taken for that of another request. */
const CLOSED = 0;
/** A word in what would be queued if a request inside of another one were taken for one. */
const SMUGGLED = 'smuggled';

const inner = (arena: Arena) =>
  request(arena, 'POST', '/v1/jobs', {
    body: JSON.stringify({ prompt: 'a dog', metadata: { [SMUGGLED]: 'yes' } }),
  }).toString('latin1');

/** Requests whose ends are told in two ways, and what else HTTP/1.1 forbids. */
export const framing: Attack = {
  name: 'framing and smuggling',
  async run(arena) {
    const key = `Authorization: Bearer ${arena.target.keys.acme}`;
    const post = (...lines: string[]) =>
      ['POST /v1/jobs HTTP/1.1', 'Host: a', key, 'Content-Type: application/json', ...lines].join('\r\n');
    const hidden = inner(arena);
    /** Whatever the first answer is, there is no second one: the rest of the bytes is not taken for a request. */
    const smuggling: [name: string, bytes: string][] = [
      ['CL and TE', `${post('Content-Length: 4', 'Transfer-Encoding: chunked')}\r\n\r\n0\r\n\r\n${hidden}`],
      [
        'TE and CL',
        `${post('Transfer-Encoding: chunked', `Content-Length: ${5 + hidden.length}`)}\r\n\r\n0\r\n\r\n${hidden}`,
      ],
      ['two CLs', `${post('Content-Length: 0', `Content-Length: ${hidden.length}`)}\r\n\r\n${hidden}`],
      ['two equal CLs', `${post('Content-Length: 2', 'Content-Length: 2')}\r\n\r\n{}${hidden}`],
      ['a list of CLs', `${post('Content-Length: 2, 2')}\r\n\r\n{}${hidden}`],
      ['a negative CL', `${post('Content-Length: -1')}\r\n\r\n${hidden}`],
      ['CL with a sign', `${post('Content-Length: +2')}\r\n\r\n{}${hidden}`],
      ['CL in hex', `${post('Content-Length: 0x2')}\r\n\r\n{}${hidden}`],
      ['CL beyond 2^64', `${post('Content-Length: 18446744073709551618')}\r\n\r\n{}${hidden}`],
      ['TE that is no coding', `${post('Transfer-Encoding: xchunked')}\r\n\r\n0\r\n\r\n${hidden}`],
      [
        'TE twice',
        `${post('Transfer-Encoding: chunked', 'Transfer-Encoding: identity')}\r\n\r\n0\r\n\r\n${hidden}`,
      ],
      ['chunked not last', `${post('Transfer-Encoding: chunked, identity')}\r\n\r\n0\r\n\r\n${hidden}`],
      ['TE with a tab', `${post('Transfer-Encoding:\tchunked\u000b')}\r\n\r\n0\r\n\r\n${hidden}`],
      ['TE before a colon and a space', `${post('Transfer-Encoding : chunked')}\r\n\r\n0\r\n\r\n${hidden}`],
      [
        'a folded header',
        `${post('Content-Length: 0', 'X: a', ' Transfer-Encoding: chunked')}\r\n\r\n0\r\n\r\n${hidden}`,
      ],
      [
        'bare LF after a header',
        `${post('Content-Length: 0', 'X: a\nTransfer-Encoding: chunked')}\r\n\r\n0\r\n\r\n${hidden}`,
      ],
      [
        'bare CR in a header',
        `${post('Content-Length: 0', 'X: a\rTransfer-Encoding: chunked')}\r\n\r\n0\r\n\r\n${hidden}`,
      ],
      [
        'a chunk size beyond 2^64',
        `${post('Transfer-Encoding: chunked')}\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n${hidden}`,
      ],
      [
        'a chunk size with a sign',
        `${post('Transfer-Encoding: chunked')}\r\n\r\n-2\r\n{}\r\n0\r\n\r\n${hidden}`,
      ],
      ['chunks without their ends', `${post('Transfer-Encoding: chunked')}\r\n\r\n2\r\n{}${hidden}`],
      [
        'an extension of a chunk without end',
        `${post('Transfer-Encoding: chunked')}\r\n\r\n2;${'a'.repeat(40_000)}\r\n{}\r\n0\r\n\r\n`,
      ],
      ['NUL in a header', `${post('Content-Length: 0', 'X: a\0b')}\r\n\r\n${hidden}`],
      ['a header without a name', `${post('Content-Length: 0', ': a')}\r\n\r\n${hidden}`],
      ['HTTP/0.9', `GET /v1/jobs\r\n\r\n${hidden}`],
      ['HTTP/3.9', `GET /v1/jobs HTTP/3.9\r\nHost: a\r\n\r\n${hidden}`],
      ['no version', `GET /v1/jobs HTTP\r\nHost: a\r\n\r\n${hidden}`],
      ['the preface of HTTP/2', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${hidden}`],
      ['the hello of TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.padEnd(500, '\x7f')],
      ['a space before the first line', ` GET /v1/jobs HTTP/1.1\r\nHost: a\r\n${key}\r\n\r\n${hidden}`],
      [
        'bytes that are nothing',
        Buffer.from(Array.from({ length: 300 }, () => arena.chance.between(0, 256))).toString('latin1'),
      ],
    ];
    await each(smuggling, async ([name, bytes]) => {
      const sending = { bytes, answers: 1, linger: 300 };
      const { answers, sent } = await attack(arena, `framing: ${name}`, sending, [
        CLOSED,
        400,
        401,
        404,
        405,
        408,
        413,
      ]);
      arena.tally.check(
        answers.length <= 1,
        'one request, one answer',
        `framing: ${name}`,
        `${answers.length} answers`,
        sent.toString('latin1'),
      );
    });
    const { answers } = await attack(
      arena,
      'framing: nothing was smuggled',
      request(arena, 'GET', `/v1/jobs?metadata.${SMUGGLED}=yes`),
      [200],
    );
    arena.tally.check(
      answers[0]?.body.includes('"data":[]') ?? false,
      'nothing inside of a request is done',
      'framing',
      answers[0]?.body.slice(0, 200) ?? '',
    );

    await headers(arena);
    await methods(arena);
  },
};

async function headers(arena: Arena): Promise<void> {
  const get = (...lines: string[]) => request(arena, 'GET', '/v1/jobs?limit=1', { headers: lines });
  const many = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: a`);
  const cases: [name: string, bytes: Buffer | string, statuses: number[]][] = [
    ['one of 20 kB', get(`X: ${'a'.repeat(20_000)}`), [431]],
    ['one of a megabyte', get(`X: ${'a'.repeat(2 ** 20)}`), [431]],
    ['a thousand', get(...many(1000)), [200, 431]],
    ['an address of 20 kB', request(arena, 'GET', `/v1/jobs?${'a'.repeat(20_000)}`), [431]],
    ['an address of 12 kB', request(arena, 'GET', `/v1/jobs/${'a'.repeat(12_000)}`), [404, 414]],
    [
      'a query of 5,000 names',
      request(arena, 'GET', `/v1/jobs?${Array.from({ length: 5000 }, () => 'a').join('&')}`),
      [400],
    ],
    ['no Host', 'GET /healthz HTTP/1.1\r\n\r\n', [400]],
    ['two Hosts', 'GET /healthz HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n', [400]],
    ['no Host in HTTP/1.0', 'GET /healthz HTTP/1.0\r\n\r\n', [200]],
    ['HTTP/1.0 without a key', 'GET /v1/jobs HTTP/1.0\r\n\r\n', [401]],
    ['a Host of nonsense', 'GET /healthz HTTP/1.1\r\nHost: [::1\0]:x:y\r\n\r\n', [200, 400]],
    ['a whole URL', request(arena, 'GET', 'http://elsewhere.example/v1/jobs?limit=1'), [200, 400, 404]],
    [
      'another Expect',
      request(arena, 'POST', '/v1/jobs', { headers: ['Expect: the-moon'], body: '{"prompt": "a dog"}' }),
      [417],
    ],
    ['an upgrade', get('Connection: upgrade', 'Upgrade: websocket'), [200]],
    [
      'an upgrade to HTTP/2',
      get('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk'),
      [200],
    ],
    ['keys in two headers', get('Authorization: Bearer fdy_no'), [200, 400, 401]],
    ['a key that is cut', 'GET /v1/jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer fdy_\r\n\r\n', [401]],
    [
      'a key of 10 kB',
      `GET /v1/jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer fdy_${'a'.repeat(10_000)}\r\n\r\n`,
      [401],
    ],
    [
      'an Accept of a thousand types',
      request(arena, 'GET', `/v1/jobs/${arena.things.jobs}/rewards`, {
        headers: [`Accept: ${'a/b;q=0.5,'.repeat(1000)}*/*`],
      }),
      [200],
    ],
    [
      'an Accept of nothing',
      request(arena, 'GET', `/v1/jobs/${arena.things.jobs}/rewards`, { headers: ['Accept: ,;=,q'] }),
      [406],
    ],
    ['Prefer without sense', get('Prefer: wait=99999999999999999999, wait=-1, wait="'), [200]],
    [
      'an If-None-Match of 10 kB',
      request(arena, 'GET', `/v1/images/${arena.things.images}`, {
        headers: [`If-None-Match: ${'"a",'.repeat(2500)}`],
      }),
      [200],
    ],
    ['an Origin of nonsense', get('Origin: null\u00e9://'), [200]],
    ['an X-Request-Id with a line break', get('X-Request-Id: a%0d%0aSet-Cookie: b'), [200]],
    [
      'an Idempotency-Key of 10 kB',
      request(arena, 'POST', '/v1/jobs', {
        headers: [`Idempotency-Key: ${'a'.repeat(10_000)}`],
        body: '{"prompt": "a dog"}',
      }),
      [400],
    ],
  ];
  await each(cases, ([name, bytes, statuses]) =>
    attack(arena, `headers: ${name}`, { bytes: [Buffer.from(bytes as string, 'latin1')] }, statuses),
  );
}

async function methods(arena: Arena): Promise<void> {
  const words = [
    'TRACE',
    'CONNECT',
    'PROPFIND',
    'PURGE',
    'QUERY',
    'M-SEARCH',
    'LINK',
    'get',
    'GET\u00e9',
    'X'.repeat(5000),
    '',
  ];
  const paths = ['/v1/jobs', '/healthz', '*', '/nothing', `/v1/jobs/${arena.things.jobs}`];
  const all = words.flatMap((method) => paths.map((path) => [method, path] as const));
  await each(all, ([method, path]) =>
    attack(arena, `methods: ${method.slice(0, 10)} ${path}`, request(arena, method, path)),
  );
}
