import { createHash } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { SeededRandom } from '../support/seeded-random.ts';

/**
 * How the receiver handles a request, and how often. It accepts 72 % of them, with or without an
 * answer.
 */
const BEHAVIORS = [
  { behavior: 'accepts', share: 0.6 },
  { behavior: 'accepts slowly', share: 0.06 },
  { behavior: 'accepts, no answer', share: 0.06 },
  { behavior: 'answers 500', share: 0.12 },
  { behavior: 'answers 503', share: 0.05 },
  { behavior: 'hangs up', share: 0.08 },
  { behavior: 'never answers', share: 0.03 },
] as const;
type Behavior = (typeof BEHAVIORS)[number]['behavior'];

/** A request that the receiver got. */
export interface ReceivedDelivery {
  readonly path: string;
  /** The header `webhook-id`. */
  readonly id: string;
  readonly type: string;
  /** Id of the job or the sample. */
  readonly subject: string;
  readonly body: string;
  /** Whether it was answered with 2xx. */
  acknowledged: boolean;
  /** Why its signature does not verify; null: it does. */
  readonly problem: string | null;
}

/**
 * A receiver of webhooks that fails, hangs up, does not answer, or accepts a request without an
 * answer. Its behavior for the n-th request to a path depends only on the seed. It verifies each
 * signature with the public library for receivers.
 */
export class UnreliableReceiver {
  /** All requests so far. */
  readonly received: ReceivedDelivery[] = [];
  /** Number of requests by behavior. */
  readonly behaviorCounts: Record<string, number> = {};
  readonly #seed: number;
  readonly #maxRefusals: number;
  /** Requests to a path. */
  readonly #counts = new Map<string, number>();
  /** Refusals of an event at a path. */
  readonly #refusals = new Map<string, number>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;

  private constructor(seed: number, maxRefusals: number) {
    this.#seed = seed;
    this.#maxRefusals = maxRefusals;
  }

  /** @param maxRefusals how often an event is refused at a path before it is accepted */
  static async start(seed: number, maxRefusals: number): Promise<UnreliableReceiver> {
    const receiver = new UnreliableReceiver(seed, maxRefusals);
    await receiver.#listen();
    return receiver;
  }

  /** URL of a path of this receiver. */
  url(path: string): string {
    return `http://127.0.0.1:${this.#port}${path}`;
  }

  /** Secret that signs the deliveries to a path. */
  secret(path: string): string {
    return `whsec_${createHash('sha256').update(`${this.#seed} ${path}`).digest('base64')}`;
  }

  /** Closes all connections and refuses new ones for a while. */
  async goOffline(milliseconds: number): Promise<void> {
    await this.close();
    await sleep(milliseconds);
    await this.#listen();
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #listen(): Promise<void> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('error', () => {});
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const received = this.#verify(
          request.url ?? '',
          request.headers,
          Buffer.concat(chunks).toString('utf8'),
        );
        this.received.push(received);
        this.#respond(this.#choose(received), received, response);
      });
    });
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  #verify(path: string, headers: IncomingHttpHeaders, body: string): ReceivedDelivery {
    const received = { path, id: String(headers['webhook-id']), body, acknowledged: false };
    try {
      const { type, data } = new Webhook(this.secret(path)).verify(
        body,
        headers as Record<string, string>,
      ) as {
        type: string;
        data: { id: string };
      };
      return { ...received, type, subject: data.id, problem: null };
    } catch (error) {
      return { ...received, type: '', subject: '', problem: (error as Error).message };
    }
  }

  #choose({ path, id }: ReceivedDelivery): Behavior {
    const count = (this.#counts.get(path) ?? 0) + 1;
    this.#counts.set(path, count);
    const digest = createHash('sha256').update(`${this.#seed} ${path} ${count}`).digest();
    let rest = new SeededRandom(digest.readUInt32LE()).next();
    const found = BEHAVIORS.find(({ share }) => {
      rest -= share;
      return rest < 0;
    });
    const { behavior }: { readonly behavior: Behavior } = found ?? BEHAVIORS[0];
    const refusals = this.#refusals.get(`${path} ${id}`) ?? 0;
    if (behavior === 'accepts' || behavior === 'accepts slowly') return behavior;
    if (refusals >= this.#maxRefusals) return 'accepts';
    this.#refusals.set(`${path} ${id}`, refusals + 1);
    return behavior;
  }

  #respond(behavior: Behavior, received: ReceivedDelivery, response: ServerResponse): void {
    this.behaviorCounts[behavior] = (this.behaviorCounts[behavior] ?? 0) + 1;
    const accept = () => {
      if (response.destroyed) return; // the sender or this receiver closed the connection
      received.acknowledged = true;
      response.writeHead(204).end();
    };
    if (behavior === 'accepts') accept();
    else if (behavior === 'accepts slowly') setTimeout(accept, 2500);
    else if (behavior === 'answers 500') response.writeHead(500).end('no');
    else if (behavior === 'answers 503') response.writeHead(503, { 'retry-after': '2' }).end();
    else if (behavior !== 'never answers') response.destroy();
  }
}
