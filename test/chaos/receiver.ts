import { createHash } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { Chance } from './chance.ts';

/** What a receiver does with a request, and how often: seven in ten times it takes it, one way or another. */
const MOODS = [
  { mood: 'takes it', share: 0.6 },
  { mood: 'takes it slowly', share: 0.06 },
  { mood: 'takes it and says nothing', share: 0.06 },
  { mood: 'answers 500', share: 0.12 },
  { mood: 'answers 503', share: 0.05 },
  { mood: 'hangs up', share: 0.08 },
  { mood: 'is silent', share: 0.03 },
] as const;
type Mood = (typeof MOODS)[number]['mood'];

/** A request as it came. */
export interface Told {
  readonly path: string;
  /** `webhook-id`. */
  readonly id: string;
  readonly type: string;
  /** Id of the job or the sample. */
  readonly subject: string;
  readonly body: string;
  /** Whether 2xx was sent in answer. */
  taken: boolean;
  /** What is wrong with it; null: nothing. */
  readonly wrong: string | null;
}

/**
 * A receiver of webhooks that is none to rely on: it fails, hangs up, is silent until the sender gives up, takes what it was told and
 * does not say so. What it does with the n-th request to a path follows from the seed alone. It checks each request as the public
 * library for receivers does, when it comes.
 */
export class MoodyReceiver {
  readonly told: Told[] = [];
  readonly moods: Record<string, number> = {};
  readonly #seed: number;
  readonly #most: number;
  readonly #counts = new Map<string, number>();
  readonly #bad = new Map<string, number>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;

  private constructor(seed: number, most: number) {
    this.#seed = seed;
    this.#most = most;
  }

  /** @param most refusals of one event at one path in a row; then it is taken */
  static async start(seed: number, most: number): Promise<MoodyReceiver> {
    const receiver = new MoodyReceiver(seed, most);
    await receiver.#listen();
    return receiver;
  }

  /** Where `path` is told. */
  url(path: string): string {
    return `http://127.0.0.1:${this.#port}${path}`;
  }

  /** What signs the deliveries to `path`. */
  secret(path: string): string {
    return `whsec_${createHash('sha256').update(`${this.#seed} ${path}`).digest('base64')}`;
  }

  /** Refuses connections, and breaks off those that there are, for a while. */
  async leave(milliseconds: number): Promise<void> {
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
        const told = this.#look(request.url ?? '', request.headers, Buffer.concat(chunks).toString('utf8'));
        this.told.push(told);
        this.#act(this.#choose(told), told, response);
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

  #look(path: string, headers: IncomingHttpHeaders, body: string): Told {
    const told = { path, id: String(headers['webhook-id']), body, taken: false };
    try {
      const { type, data } = new Webhook(this.secret(path)).verify(
        body,
        headers as Record<string, string>,
      ) as {
        type: string;
        data: { id: string };
      };
      return { ...told, type, subject: data.id, wrong: null };
    } catch (error) {
      return { ...told, type: '', subject: '', wrong: (error as Error).message };
    }
  }

  #choose({ path, id }: Told): Mood {
    const count = (this.#counts.get(path) ?? 0) + 1;
    this.#counts.set(path, count);
    const digest = createHash('sha256').update(`${this.#seed} ${path} ${count}`).digest();
    let drawn = new Chance(digest.readUInt32LE()).fraction();
    const found = MOODS.find(({ share }) => {
      drawn -= share;
      return drawn < 0;
    });
    const { mood }: { readonly mood: Mood } = found ?? MOODS[0];
    const bad = this.#bad.get(`${path} ${id}`) ?? 0;
    if (mood === 'takes it' || mood === 'takes it slowly') return mood;
    if (bad >= this.#most) return 'takes it';
    this.#bad.set(`${path} ${id}`, bad + 1);
    return mood;
  }

  #act(mood: Mood, told: Told, response: ServerResponse): void {
    this.moods[mood] = (this.moods[mood] ?? 0) + 1;
    const take = () => {
      if (response.destroyed) return; // it went away, or who asked did
      told.taken = true;
      response.writeHead(204).end();
    };
    if (mood === 'takes it') take();
    else if (mood === 'takes it slowly') setTimeout(take, 2500);
    else if (mood === 'answers 500') response.writeHead(500).end('no');
    else if (mood === 'answers 503') response.writeHead(503, { 'retry-after': '2' }).end();
    else if (mood !== 'is silent') response.destroy();
  }
}
