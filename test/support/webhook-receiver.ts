import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { expect } from 'vitest';

/** A request that the receiver got. */
export interface ReceivedRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Time of receipt in milliseconds since 1970. */
  readonly at: number;
}

/** A receiver of webhooks on 127.0.0.1. It records requests and answers as the test says. */
export class WebhookReceiver {
  readonly received: ReceivedRequest[] = [];
  /**
   * Answers a request, with 204 by default. `count` is the number of requests so far, this one
   * included.
   */
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

  static async start(): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver();
    await new Promise<void>((resolve) => receiver.#server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }
  get url(): string {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  /** Waits until `count` requests have arrived, and returns all that have. */
  async wait(count: number, milliseconds = 15_000): Promise<ReceivedRequest[]> {
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

/**
 * Verifies the signature with the public library for receivers, and returns the parsed body.
 * @throws WebhookVerificationError when no signature was made with `secret`
 */
export function verify(
  { body, headers }: ReceivedRequest,
  secret: string,
): { type: string; timestamp: string; data: never } {
  const payload = new Webhook(secret).verify(body, headers as Record<string, string>);
  return payload as { type: string; timestamp: string; data: never };
}
