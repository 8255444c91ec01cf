import { gzipSync } from 'node:zlib';
import {
  type Attack,
  type AttackContext,
  checkStillServing,
  forEachConcurrently,
  request,
  sendAndCheck,
} from '../attack.ts';

/** Invalid, oversized and malicious bodies. */
export const bodies: Attack = {
  name: 'bodies',
  async run(context) {
    const prompt = '"prompt": "a dog"';
    const nest = (depth: number, open: string, close: string) => open.repeat(depth) + close.repeat(depth);
    const json: [name: string, body: string | Buffer, statuses: number[]][] = [
      ['a duplicate key', `{${prompt}, "seed": 1, "seed": 2}`, [202]],
      ['a duplicate key with a wrong value', `{${prompt}, "prompt": 7}`, [400]],
      ['__proto__', `{${prompt}, "__proto__": {"samples": 64}}`, [400]],
      ['__proto__ in escapes', `{${prompt}, "\\u005f_proto__": {"samples": 64}}`, [400]],
      ['constructor.prototype', `{${prompt}, "constructor": {"prototype": {"samples": 64}}}`, [400]],
      ['__proto__ inside', `{${prompt}, "sampler": {"__proto__": {"steps": 1}}}`, [400]],
      [
        'names of Object.prototype in metadata',
        `{${prompt}, "metadata": {"constructor": "a", "toString": "b", "hasOwnProperty": "c"}}`,
        [202],
      ],
      [
        'names of Object.prototype as parameters',
        `{${prompt}, "optimizer": {"name": "find", "toString": 1, "valueOf": 2}}`,
        [422],
      ],
      ['an optimizer of Object.prototype', `{${prompt}, "optimizer": {"name": "constructor"}}`, [422]],
      ['a reward of Object.prototype', `{${prompt}, "reward": "toString"}`, [422]],
      ['nested lists', `{${prompt}, "metadata": ${nest(30_000, '[', ']')}}`, [400]],
      [
        'nested objects',
        `{${prompt}, "metadata": ${nest(10_000, '{"a":', '').replace(/$/, '1')}${'}'.repeat(10_000)}}`,
        [400],
      ],
      ['unclosed lists', '['.repeat(60_000), [400]],
      ['10,000 unknown fields', `{${prompt}, ${Array.from({ length: 6000 }, (_, i) => `"k${i}":1`)}}`, [400]],
      [
        'a prompt that ends badly after 60,000 characters',
        `{"prompt": "${'a'.repeat(60_000)}\\u0007"}`,
        [400],
      ],
      ['60,000 spaces as the prompt', `{"prompt": "${' '.repeat(60_000)}"}`, [400]],
      ['a lone surrogate', `{"prompt": "a \\ud800"}`, [400]],
      ['NUL in the prompt', `{"prompt": "a \\u0000"}`, [400]],
      ['NaN', `{${prompt}, "seed": NaN}`, [400]],
      ['Infinity', `{${prompt}, "budget": {"seconds": Infinity}}`, [400]],
      ['1e400', `{${prompt}, "budget": {"seconds": 1e400}}`, [400]],
      ['-1e400', `{${prompt}, "reward": [{"name": "jpeg-size", "weight": -1e400}]}`, [400]],
      ['a number of 50,000 digits', `{${prompt}, "seed": ${'9'.repeat(50_000)}}`, [400]],
      ['1e-400', `{${prompt}, "budget": {"seconds": 1e-400}}`, [400]],
      ['-0', `{${prompt}, "seed": -0}`, [202]],
      ['a width of 0', `{${prompt}, "sampler": {"width": 0}}`, [400]],
      ['a width of 1e9', `{${prompt}, "sampler": {"width": 1e9, "height": 1e9}}`, [400]],
      ['the largest width of the schema', `{${prompt}, "sampler": {"width": 8192, "height": 8192}}`, [422]],
      ['a deadline of the year 275760', `{${prompt}, "deadline": "+275760-09-13T00:00:00Z"}`, [400]],
      ['a deadline on the 31st of February', `{${prompt}, "deadline": "2030-02-31T00:00:00Z"}`, [400]],
      ['a deadline of a leap second', `{${prompt}, "deadline": "2030-12-31T23:59:60Z"}`, [202, 400, 422]],
      [
        'a webhook to metadata of a cloud',
        `{${prompt}, "webhook": {"url": "https://169.254.169.254/"}}`,
        [422],
      ],
      ['a webhook by a number', `{${prompt}, "webhook": {"url": "http://2130706433/"}}`, [202, 422]],
      ['a webhook to a file', `{${prompt}, "webhook": {"url": "file:///etc/passwd"}}`, [422]],
      ['a comment', `{${prompt} /* a */}`, [400]],
      ['a byte order mark', `\ufeff{${prompt}}`, [202, 400]],
      ['UTF-16', Buffer.from(`\ufeff{${prompt}}`, 'utf16le'), [400]],
      ['bytes that are not UTF-8', Buffer.from('{"prompt": "a \xff\xfe"}', 'latin1'), [400]],
      ['an overlong slash', Buffer.from('{"prompt": "\xc0\xaf"}', 'latin1'), [400]],
      ['an incomplete character', Buffer.from('{"prompt": "\xe2\x82"}', 'latin1'), [400]],
      ['an empty body', '', [400]],
      ['null', 'null', [400]],
      ['a number', '1e999', [400]],
    ];
    await forEachConcurrently(json, ([name, body, statuses]) =>
      sendAndCheck(context, `JSON: ${name}`, request(context, 'POST', '/v1/jobs', { body }), statuses),
    );
    await types(context);
    await sizes(context);
    await files(context);
    await checkStillServing(context, 'after all bodies');
  },
};

/** Content types and encodings. */
async function types(context: AttackContext): Promise<void> {
  const body = '{"prompt": "a dog"}';
  const packed = gzipSync(Buffer.alloc(20 * 2 ** 20));
  const cases: [name: string, headers: string[], body: string | Buffer, statuses: number[]][] = [
    ...[
      'text/plain',
      'text/html',
      'multipart/form-data; boundary=a',
      'application/x-www-form-urlencoded',
      'application/octet-stream',
      'a',
      '*/*',
      '/',
      ';',
    ].map((type): [string, string[], string, number[]] => [
      type,
      [`Content-Type: ${type}`],
      body,
      [400, 415],
    ]),
    ['JSON of another charset', ['Content-Type: application/json; charset=utf-16'], body, [202, 400, 415]],
    [
      'JSON with a parameter of 5 kB',
      [`Content-Type: application/json; a=${'b'.repeat(5000)}`],
      body,
      [202, 400, 415],
    ],
    ['compressed', ['Content-Encoding: gzip'], gzipSync(body), [415]],
    ['a decompression bomb', ['Content-Encoding: gzip'], packed, [413, 415]],
    ['compressed ten times', [`Content-Encoding: ${'gzip, '.repeat(10)}gzip`], body, [415]],
    ['an unknown encoding', ['Content-Encoding: x'], body, [415]],
  ];
  await forEachConcurrently(cases, ([name, headers, given, statuses]) =>
    sendAndCheck(
      context,
      `types: ${name}`,
      request(context, 'POST', '/v1/jobs', { headers, body: given }),
      statuses,
    ),
  );
}

/** A head and `total` bytes in pieces of 64 KiB, each encoded by `wrap`. */
function* pieces(
  head: Buffer,
  total: number,
  wrap: (piece: Buffer) => Buffer = (piece) => piece,
): Generator<Buffer> {
  yield head;
  const piece = wrap(Buffer.alloc(65_536, 'a'));
  for (let sent = 0; sent < total; sent += 65_536) yield piece;
}

/** Bodies that are far too large, with and without a length. */
async function sizes(context: AttackContext): Promise<void> {
  const { bodyBytes } = context.scale;
  const chunk = (piece: Buffer) =>
    Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]);
  const large = (path: string, ...headers: string[]) => request(context, 'POST', path, { headers });
  const bytes = 'Content-Type: application/octet-stream';
  const json = 'Content-Type: application/json';
  const cases: [name: string, head: Buffer, wrap?: typeof chunk][] = [
    ['JSON with its length', large('/v1/jobs', json, `Content-Length: ${bodyBytes}`)],
    ['JSON in chunks', large('/v1/jobs', json, 'Transfer-Encoding: chunked'), chunk],
    ['a policy file with its length', large('/v1/policies?prompt=a', bytes, `Content-Length: ${bodyBytes}`)],
    ['a policy file in chunks', large('/v1/policies?prompt=a', bytes, 'Transfer-Encoding: chunked'), chunk],
    ['a length of 2^53', large('/v1/jobs', json, `Content-Length: ${2 ** 53}`)],
    [
      'for an operation without a body',
      large(`/v1/jobs/${context.resources.jobs}/pause`, bytes, 'Transfer-Encoding: chunked'),
      chunk,
    ],
    ['for an unknown path', large('/nothing', json, `Content-Length: ${bodyBytes}`)],
    [
      'without a key',
      Buffer.from(
        `POST /v1/policies HTTP/1.1\r\nHost: a\r\n${bytes}\r\nContent-Length: ${bodyBytes}\r\n\r\n`,
      ),
    ],
  ];
  await forEachConcurrently(
    cases,
    async ([name, head, wrap]) => {
      const sending = { bytes: pieces(head, bodyBytes, wrap), patience: 60_000 };
      // No statuses: a client that is still sending when the server closes may miss the response.
      await sendAndCheck(context, `${(bodyBytes / 2 ** 20).toFixed(0)} MiB: ${name}`, sending);
    },
    4,
  );
  const get = (length: number, sent: string) =>
    request(context, 'GET', '/v1/jobs?limit=1', { headers: [`Content-Length: ${length}`], body: sent });
  await sendAndCheck(context, 'sizes: GET with a body', get(4, 'abcd'), [200, 400, 415]);
  await sendAndCheck(context, 'sizes: more than the length says', {
    bytes: request(context, 'POST', '/v1/jobs', { headers: ['Content-Length: 2'], body: '{}garbage' }),
    responses: 2,
    lingerMs: 100,
  });
}

/** Policy files with malicious headers. */
async function files(context: AttackContext): Promise<void> {
  const file = (head: string | Buffer, length: bigint = BigInt(Buffer.byteLength(head)), rest = '') => {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(length);
    return Buffer.concat([size, Buffer.from(head), Buffer.from(rest)]);
  };
  const tensors =
    '"mean":{"dtype":"F32","shape":[1,4,16,16],"data_offsets":[0,4096]},' +
    '"std":{"dtype":"F32","shape":[],"data_offsets":[4096,4100]},' +
    '"weights":{"dtype":"F32","shape":[1],"data_offsets":[4100,4104]}';
  const zeros = '\0'.repeat(4104);
  /** A file with this metadata. A text that begins with a bracket is inserted as JSON. */
  const withMetadata = (metadata: { readonly [name: string]: string }) => {
    const entries = Object.entries(metadata).map(([name, text]) => [
      name,
      /^[[{]/.test(text) ? text : JSON.stringify(text),
    ]);
    const all = { format: 'findery.policy', formatVersion: '1', ...Object.fromEntries(entries) };
    return file(`{"__metadata__":${JSON.stringify(all)},${tensors}}`, undefined, zeros);
  };
  const cases: [name: string, bytes: Buffer][] = [
    ['an empty file', Buffer.alloc(0)],
    ['seven bytes', Buffer.alloc(7)],
    ['a head of 2^63', file('{}', 2n ** 63n)],
    ['a head of 2^64 - 1', file('{}', 2n ** 64n - 1n)],
    ['a missing head of 50 MB', file('{}', 50_000_000n)],
    ['a head that is not JSON', file('{'.repeat(1000))],
    ['a head that is not UTF-8', file(Buffer.from([0x7b, 0xff, 0xfe, 0x7d]))],
    ['a head of a million lists', file('['.repeat(1_000_000))],
    ['a head of nested lists', file(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`)],
    [
      'shapes beyond the end of the file',
      file('{"mean":{"dtype":"F32","shape":[1e15,1e15],"data_offsets":[0,4]}}', undefined, 'abcd'),
    ],
    [
      'offsets below zero',
      file('{"mean":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}', undefined, 'abcd'),
    ],
    [
      'shapes of a million numbers',
      file(
        `{"mean":{"dtype":"F32","shape":[${'1,'.repeat(1_000_000)}1],"data_offsets":[0,4]}}`,
        undefined,
        'abcd',
      ),
    ],
    [
      'a tensor named __proto__',
      file(`{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},${tensors}}`, undefined, zeros),
    ],
    ['zeros for a distribution', withMetadata({ prompt: 'a dog' })],
    [
      'metadata of nested lists',
      withMetadata({
        prompt: 'a dog',
        optimizer: `${'['.repeat(50_000)}${']'.repeat(50_000)}`,
        summary: `{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
      }),
    ],
    ['a prompt of a megabyte', withMetadata({ prompt: 'a'.repeat(1_000_000) })],
    ['a model that is a path', withMetadata({ prompt: 'a dog', model: '../../etc' })],
    ['widths of 1e9', withMetadata({ prompt: 'a dog', sampler: '{"width":1e9,"height":0}' })],
  ];
  const headers = ['Content-Type: application/octet-stream'];
  await forEachConcurrently(cases, ([name, body]) =>
    sendAndCheck(
      context,
      `policy files: ${name}`,
      request(context, 'POST', '/v1/policies?prompt=a', { headers, body }),
      [400, 413, 422],
    ),
  );
}
