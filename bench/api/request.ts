import { Agent, type IncomingMessage, request as open } from 'node:http';

const agent = new Agent({ keepAlive: true, maxSockets: 100 });

/** Status and body of an answer. */
export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

/** Sends a request on a kept-alive connection and reads the whole answer. */
export function request(method: string, url: string, body?: object | string): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const sent = open(url, { method, agent, headers }, (answer: IncomingMessage) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.once('end', () =>
        resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
      answer.once('error', reject);
    });
    sent.once('error', reject);
    sent.end(typeof body === 'object' ? JSON.stringify(body) : body);
  });
}

/** Sends a POST request. */
export const post = (url: string, body?: object) => request('POST', url, body);
