import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCatalog } from '../../src/bundles/catalog.ts';
import type { ChatReward, HttpReward, RewardBundle } from '../../src/bundles/reward-bundle.ts';
import type { Picture } from '../../src/core/picture.ts';
import type { RewardError } from '../../src/rewards/scorer.ts';

/** A request that the server got. */
export interface RewardRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: { readonly [key: string]: unknown };
}

/** An answer of the server; a body that is no string is sent as JSON. */
export interface RewardReply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body: unknown;
}

/** Answers a request; `index` counts the requests since the last `reset`. */
type Answer = (request: RewardRequest, index: number) => RewardReply | Promise<RewardReply>;

/** A reward service in this process. Tests set `answer`. */
export class RewardServer {
  readonly #server: Server;
  readonly #folder: string;
  requests: RewardRequest[] = [];
  answer: Answer = () => ({ status: 500, body: 'no answer was set' });

  private constructor(folder: string) {
    this.#folder = folder;
    this.#server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const body = JSON.parse(Buffer.concat(chunks).toString());
      const received = { path: request.url ?? '', headers: request.headers, body };
      this.requests.push(received);
      const reply = await this.answer(received, this.requests.length - 1);
      response.writeHead(reply.status ?? 200, reply.headers);
      response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body));
    });
  }

  static async start(): Promise<RewardServer> {
    const server = new RewardServer(await mkdtemp(join(tmpdir(), 'findery-reward-server-')));
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Forgets the requests. */
  reset(): void {
    this.requests = [];
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await rm(this.#folder, { recursive: true });
  }

  /** A reward of type `http` at this server, read from its card. */
  async httpReward(card: object = {}): Promise<HttpReward> {
    return (await readReward(this.#folder, { type: 'http', url: this.url, ...card })) as HttpReward;
  }

  /** A reward of type `chat` at this server, read from its card. */
  async chatReward(card: object = {}): Promise<ChatReward> {
    const defaults = { type: 'chat', baseUrl: `${this.url}/v1`, model: 'judge' };
    return (await readReward(this.#folder, { ...defaults, ...card })) as ChatReward;
  }
}

/**
 * Reads a reward called "mine" from its card, as the service does.
 * @param root existing folder; a models folder is created in it
 * @returns the reward; the message of the problem if the card cannot be used
 */
export async function readReward(root: string, card: object): Promise<RewardBundle | string> {
  const models = await mkdtemp(join(root, 'models-'));
  await mkdir(join(models, 'mine'));
  await writeFile(join(models, 'mine', 'findery.json'), JSON.stringify({ kind: 'reward', ...card }));
  const { rewards, problems } = await readCatalog([models]);
  return problems[0]?.message ?? (rewards.find(({ name }) => name === 'mine') as RewardBundle);
}

/** Small gray pictures. */
export function grayPictures(count: number): Picture[] {
  return Array.from({ length: count }, () => ({
    width: 2,
    height: 2,
    pixels: new Uint8Array(12).fill(99),
  }));
}

/** The images in a request of a reward of type `http`. */
export function imagesIn({ body }: RewardRequest): unknown[] {
  return body.images as unknown[];
}

/** The RewardError that work rejects with. */
export async function errorOf(work: Promise<unknown>): Promise<RewardError> {
  return work.then(
    () => Promise.reject(new Error('The work did not fail.')),
    (error: unknown) => error as RewardError,
  );
}
