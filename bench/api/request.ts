import { Agent, type IncomingMessage, request as open } from 'node:http';

const agent = new Agent({ keepAlive: true, maxSockets: 100 });

export interface Answered {
  readonly status: number;
  readonly text: string;
}

/** A request on a connection that is kept, to the end of its answer. */
export function request(method: string, url: string, body?: object | string): Promise<Answered> {
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

export const post = (url: string, body?: object) => request('POST', url, body);
