import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { expect } from 'vitest';

/** What a receiver of webhooks got. */
export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly at: number;
}

/** A receiver of webhooks on 127.0.0.1: keeps what it gets, and answers as the test says. */
export class Receiver {
  readonly received: Received[] = [];
  /** Answers a request; 204 unless a test sets another. `count` is that of the requests so far, this one included. */
  answer: (response: ServerResponse, count: number) => void = (response) => response.writeHead(204).end();
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      this.received.push({ path: request.url ?? '', headers: request.headers, body, at: Date.now() });
      this.answer(response, this.received.length);
    });
  });

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    await new Promise<void>((resolve) => receiver.#server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }
  get url(): string {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  /** Waits until `count` requests are there, and hands them out. */
  async wait(count: number, milliseconds = 15_000): Promise<Received[]> {
    await expect
      .poll(() => this.received.length, { timeout: milliseconds, interval: 20 })
      .toBeGreaterThanOrEqual(count);
    return this.received;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** The body, after the public library for receivers has found a signature by `secret`. */
export function verify(
  { body, headers }: Received,
  secret: string,
): { type: string; timestamp: string; data: never } {
  return new Webhook(secret).verify(body, headers as Record<string, string>) as never;
}
