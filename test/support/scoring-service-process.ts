/**
 * A scoring service for `fork`, as a user would write it. It sends its port to its parent and
 * scores pictures by how green they are. The path of a request selects a behavior; `POST
 * /chat/NAME/chat/completions` answers in OpenAI's format. `GET /calls` lists the requests so far.
 */
import { createServer } from 'node:http';
import sharp from 'sharp';

/** Body of a request of findery. */
interface ScoreRequest {
  readonly prompt: string;
  readonly images: readonly { readonly mediaType: string; readonly data: string }[];
}

/** The scoring requests so far. */
const calls: { path: string; images: number; prompt: string; authorization: string | null }[] = [];

/** Greenness of a picture, -1 to 1. */
async function greenness(base64: string): Promise<number> {
  const { channels } = await sharp(Buffer.from(base64, 'base64')).stats();
  const [red, green, blue] = channels.map(({ mean }) => mean / 255);
  return green - (red + blue) / 2;
}

/** Number of pictures that were sent to a path. */
const scoredAt = (path: string) =>
  calls.reduce((sum, call) => sum + (call.path === path ? call.images : 0), 0);

/** How a path answers; `nth` is the number of its earlier requests. */
const behaviors: {
  [path: string]: (
    request: ScoreRequest,
    nth: number,
  ) => Promise<{ status?: number; headers?: Record<string, string>; body: unknown }>;
} = {
  '/good': async ({ images }) => ({
    body: { scores: await Promise.all(images.map(({ data }) => greenness(data))) },
  }),
  '/null': async ({ images }) => ({ body: { scores: images.map(() => null) } }),
  '/infinite': async () => ({ body: '{"scores": [1e999]}' }),
  '/count': async () => ({ body: { scores: [1, 2, 3] } }),
  '/text': async () => ({ body: 'good picture!' }),
  '/nothing': async () => ({ body: { score: 1 } }),
  '/gone': async () => ({ status: 404, body: { error: 'no such scorer' } }),
  '/moved': async () => ({ status: 302, headers: { location: '/good' }, body: '' }),
  '/down': async () => ({ status: 503, body: 'out of memory' }),
  '/huge': async () => ({ body: 'x'.repeat(2_000_000) }),
  '/slow': async () => {
    await new Promise((resolve) => setTimeout(resolve, 60_000));
    return { body: {} };
  },
  // Fails twice, then works. The second failure has a Retry-After.
  '/flaky': async (request, nth) => {
    if (nth < 2) return { status: nth === 0 ? 500 : 429, headers: { 'retry-after': '0' }, body: 'busy' };
    return behaviors['/good'](request, nth);
  },
  // Fails once, in the middle of a job.
  '/faints': async (request, nth) =>
    nth === 2 ? { status: 503, body: '' } : behaviors['/good'](request, nth),
  // Scores a search of 20 pictures and a report of 2 x 32, and then answers 404.
  '/tired': async (request, nth) =>
    scoredAt('/tired') > 84 ? { status: 404, body: 'closed' } : behaviors['/good'](request, nth),
  // The same, but then does not answer.
  '/last': async (request, nth) => behaviors[scoredAt('/last') > 84 ? '/slow' : '/good'](request, nth),
  // Works for three requests and then fails for good, like a service whose machine dies.
  '/dies': async (request, nth) =>
    nth < 3 ? behaviors['/good'](request, nth) : { status: 500, body: 'dead' },
};

/** How often each picture was judged, by its data URL. */
const judgements = new Map<string, number>();

/**
 * What a chat model answers to a picture with this score (0 to 10), which was judged `asked` times.
 */
const chats: { [name: string]: (score: number, asked: number) => string } = {
  good: (score) => JSON.stringify({ reason: 'as green as that', score }),
  talkative: (score) =>
    `Sure! Here is my judgement:\n\`\`\`json\n{"score": ${score}, "reason": "green"}\n\`\`\``,
  forgetful: (score, asked) => (asked === 1 ? 'It is nice.' : JSON.stringify({ score, reason: '' })),
  refusing: () => "I'm sorry, I can't judge this picture.",
  excessive: () => JSON.stringify({ score: 11, reason: 'wow' }),
};

const server = createServer(async (request, response) => {
  const send = (status: number, body: unknown, headers: Record<string, string> = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  };
  const path = request.url ?? '';
  if (path === '/calls') return send(200, calls);
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const payload = JSON.parse(Buffer.concat(chunks).toString());
  const nth = calls.filter((call) => call.path === path).length;
  const authorization = request.headers.authorization ?? null;
  const [, , name] = path.split('/');
  if (path.startsWith('/chat/')) {
    const [, user] = payload.messages;
    const [text, image] = user.content;
    calls.push({ path, images: 1, prompt: text.text, authorization });
    const asked = (judgements.get(image.image_url.url) ?? 0) + 1;
    judgements.set(image.image_url.url, asked);
    const score = 5 + 5 * (await greenness(image.image_url.url.split(',')[1]));
    return send(200, { choices: [{ message: { role: 'assistant', content: chats[name](score, asked) } }] });
  }
  calls.push({ path, images: payload.images.length, prompt: payload.prompt, authorization });
  const { status = 200, headers, body } = await behaviors[path](payload, nth);
  send(status, body, headers);
});

server.listen(0, '127.0.0.1', () => process.send?.((server.address() as { port: number }).port));
process.on('disconnect', () => process.exit());
