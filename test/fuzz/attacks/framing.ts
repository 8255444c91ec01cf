import { type Attack, type AttackContext, forEachConcurrently, request, sendAndCheck } from '../attack.ts';

/** The connection was closed without a response. */
const CLOSED = 0;
/** Metadata key of the job that a smuggled request would create. */
const SMUGGLED = 'smuggled';

const smuggledRequest = (context: AttackContext) =>
  request(context, 'POST', '/v1/jobs', {
    body: JSON.stringify({ prompt: 'a dog', metadata: { [SMUGGLED]: 'yes' } }),
  }).toString('latin1');

/** Requests with ambiguous lengths, and others that HTTP/1.1 forbids. */
export const framing: Attack = {
  name: 'framing and smuggling',
  async run(context) {
    const key = `Authorization: Bearer ${context.target.keys.acme}`;
    const post = (...lines: string[]) =>
      ['POST /v1/jobs HTTP/1.1', 'Host: a', key, 'Content-Type: application/json', ...lines].join('\r\n');
    const hidden = smuggledRequest(context);
    // None may get a second response: the bytes after the first request are not a request.
    const smuggling: [name: string, bytes: string][] = [
      ['CL and TE', `${post('Content-Length: 4', 'Transfer-Encoding: chunked')}\r\n\r\n0\r\n\r\n${hidden}`],
      [
        'TE and CL',
        `${post('Transfer-Encoding: chunked', `Content-Length: ${5 + hidden.length}`)}` +
          `\r\n\r\n0\r\n\r\n${hidden}`,
      ],
      ['two CLs', `${post('Content-Length: 0', `Content-Length: ${hidden.length}`)}\r\n\r\n${hidden}`],
      ['two equal CLs', `${post('Content-Length: 2', 'Content-Length: 2')}\r\n\r\n{}${hidden}`],
      ['a list of CLs', `${post('Content-Length: 2, 2')}\r\n\r\n{}${hidden}`],
      ['a negative CL', `${post('Content-Length: -1')}\r\n\r\n${hidden}`],
      ['CL with a sign', `${post('Content-Length: +2')}\r\n\r\n{}${hidden}`],
      ['CL in hex', `${post('Content-Length: 0x2')}\r\n\r\n{}${hidden}`],
      ['CL beyond 2^64', `${post('Content-Length: 18446744073709551618')}\r\n\r\n{}${hidden}`],
      ['TE with an unknown coding', `${post('Transfer-Encoding: xchunked')}\r\n\r\n0\r\n\r\n${hidden}`],
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
        'an endless chunk extension',
        `${post('Transfer-Encoding: chunked')}\r\n\r\n2;${'a'.repeat(40_000)}\r\n{}\r\n0\r\n\r\n`,
      ],
      ['NUL in a header', `${post('Content-Length: 0', 'X: a\0b')}\r\n\r\n${hidden}`],
      ['a header without a name', `${post('Content-Length: 0', ': a')}\r\n\r\n${hidden}`],
      ['HTTP/0.9', `GET /v1/jobs\r\n\r\n${hidden}`],
      ['HTTP/3.9', `GET /v1/jobs HTTP/3.9\r\nHost: a\r\n\r\n${hidden}`],
      ['no version', `GET /v1/jobs HTTP\r\nHost: a\r\n\r\n${hidden}`],
      ['the preface of HTTP/2', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${hidden}`],
      ['a TLS handshake', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.padEnd(500, '\x7f')],
      ['a space before the first line', ` GET /v1/jobs HTTP/1.1\r\nHost: a\r\n${key}\r\n\r\n${hidden}`],
      [
        'random bytes',
        Buffer.from(Array.from({ length: 300 }, () => context.random.between(0, 256))).toString('latin1'),
      ],
    ];
    await forEachConcurrently(smuggling, async ([name, bytes]) => {
      const sending = { bytes, responses: 1, linger: 300 };
      const { responses, sent } = await sendAndCheck(context, `framing: ${name}`, sending, [
        CLOSED,
        400,
        401,
        404,
        405,
        408,
        413,
      ]);
      context.findings.check(
        responses.length <= 1,
        'one request, one response',
        `framing: ${name}`,
        `${responses.length} responses`,
        sent.toString('latin1'),
      );
    });
    const { responses } = await sendAndCheck(
      context,
      'framing: nothing was smuggled',
      request(context, 'GET', `/v1/jobs?metadata.${SMUGGLED}=yes`),
      [200],
    );
    context.findings.check(
      responses[0]?.body.includes('"data":[]') ?? false,
      'a request inside of a request is not executed',
      'framing',
      responses[0]?.body.slice(0, 200) ?? '',
    );

    await headers(context);
    await methods(context);
  },
};

/** Oversized, repeated and malformed headers. */
async function headers(context: AttackContext): Promise<void> {
  const get = (...lines: string[]) => request(context, 'GET', '/v1/jobs?limit=1', { headers: lines });
  const many = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: a`);
  const cases: [name: string, bytes: Buffer | string, statuses: number[]][] = [
    ['one of 20 kB', get(`X: ${'a'.repeat(20_000)}`), [431]],
    ['one of a megabyte', get(`X: ${'a'.repeat(2 ** 20)}`), [431]],
    ['a thousand', get(...many(1000)), [200, 431]],
    ['a URL of 20 kB', request(context, 'GET', `/v1/jobs?${'a'.repeat(20_000)}`), [431]],
    ['a URL of 12 kB', request(context, 'GET', `/v1/jobs/${'a'.repeat(12_000)}`), [404, 414]],
    [
      'a query of 5,000 names',
      request(context, 'GET', `/v1/jobs?${Array.from({ length: 5000 }, () => 'a').join('&')}`),
      [400],
    ],
    ['no Host', 'GET /healthz HTTP/1.1\r\n\r\n', [400]],
    ['two Hosts', 'GET /healthz HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n', [400]],
    ['no Host in HTTP/1.0', 'GET /healthz HTTP/1.0\r\n\r\n', [200]],
    ['HTTP/1.0 without a key', 'GET /v1/jobs HTTP/1.0\r\n\r\n', [401]],
    ['a Host of nonsense', 'GET /healthz HTTP/1.1\r\nHost: [::1\0]:x:y\r\n\r\n', [200, 400]],
    ['a whole URL', request(context, 'GET', 'http://elsewhere.example/v1/jobs?limit=1'), [200, 400, 404]],
    [
      'an unknown Expect',
      request(context, 'POST', '/v1/jobs', { headers: ['Expect: the-moon'], body: '{"prompt": "a dog"}' }),
      [417],
    ],
    ['an upgrade', get('Connection: upgrade', 'Upgrade: websocket'), [200]],
    [
      'an upgrade to HTTP/2',
      get('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk'),
      [200],
    ],
    ['keys in two headers', get('Authorization: Bearer fdy_no'), [200, 400, 401]],
    ['a truncated key', 'GET /v1/jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer fdy_\r\n\r\n', [401]],
    [
      'a key of 10 kB',
      `GET /v1/jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer fdy_${'a'.repeat(10_000)}\r\n\r\n`,
      [401],
    ],
    [
      'an Accept of a thousand types',
      request(context, 'GET', `/v1/jobs/${context.resources.jobs}/rewards`, {
        headers: [`Accept: ${'a/b;q=0.5,'.repeat(1000)}*/*`],
      }),
      [200],
    ],
    [
      'an Accept of nothing',
      request(context, 'GET', `/v1/jobs/${context.resources.jobs}/rewards`, { headers: ['Accept: ,;=,q'] }),
      [406],
    ],
    ['a nonsensical Prefer', get('Prefer: wait=99999999999999999999, wait=-1, wait="'), [200]],
    [
      'an If-None-Match of 10 kB',
      request(context, 'GET', `/v1/images/${context.resources.images}`, {
        headers: [`If-None-Match: ${'"a",'.repeat(2500)}`],
      }),
      [200],
    ],
    ['an Origin of nonsense', get('Origin: null\u00e9://'), [200]],
    ['an X-Request-Id with a line break', get('X-Request-Id: a%0d%0aSet-Cookie: b'), [200]],
    [
      'an Idempotency-Key of 10 kB',
      request(context, 'POST', '/v1/jobs', {
        headers: [`Idempotency-Key: ${'a'.repeat(10_000)}`],
        body: '{"prompt": "a dog"}',
      }),
      [400],
    ],
  ];
  await forEachConcurrently(cases, ([name, bytes, statuses]) =>
    sendAndCheck(context, `headers: ${name}`, { bytes: [Buffer.from(bytes as string, 'latin1')] }, statuses),
  );
}

/** Unknown and malformed methods. */
async function methods(context: AttackContext): Promise<void> {
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
  const paths = ['/v1/jobs', '/healthz', '*', '/nothing', `/v1/jobs/${context.resources.jobs}`];
  const all = words.flatMap((method) => paths.map((path) => [method, path] as const));
  await forEachConcurrently(all, ([method, path]) =>
    sendAndCheck(context, `methods: ${method.slice(0, 10)} ${path}`, request(context, method, path)),
  );
}
