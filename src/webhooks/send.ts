import http from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';
import { abortedWith } from '../abort.ts';
import type { AllowedTargets } from '../config/allowed-targets.ts';
import { VERSION } from '../version.ts';
import { ForbiddenTargetError, hostOf, type Resolve, resolveTarget, type Target } from './resolve-target.ts';

/** What came of an attempt. */
export interface SendResult {
  /** HTTP status; null: there was no answer. */
  readonly status: number | null;
  /** Why it does not count as delivered, in words for the delivery log; null: it was delivered. */
  readonly error: string | null;
  /** Seconds that the receiver asked to be left alone; null: it did not. */
  readonly retryAfter: number | null;
}

export interface SendOptions {
  readonly allowed: AllowedTargets;
  readonly resolve: Resolve;
  /** Milliseconds for all of it: name, connection, answer. */
  readonly timeout: number;
  /** Ends the attempt. */
  readonly signal?: AbortSignal;
}

/** Bytes of an answer that are read before the connection is cut: nobody looks at them. */
const MOST_ANSWER = 65_536;

/**
 * POSTs a body, to the very addresses that were checked. 2xx is delivered; redirects are not followed: their target would be
 * somebody else's choice.
 */
export async function send(
  url: string,
  body: string,
  headers: { readonly [name: string]: string },
  { allowed, resolve, timeout, signal }: SendOptions,
): Promise<SendResult> {
  const controller = signal ? abortedWith(signal) : new AbortController();
  const limit = controller.signal;
  // Not cleared when there is an answer: its body may never end.
  setTimeout(() => controller.abort(new DOMException('It took too long.', 'TimeoutError')), timeout).unref();
  const aborted = new Promise<never>((_resolve, reject) => {
    limit.addEventListener('abort', () => reject(limit.reason), { once: true });
  });
  aborted.catch(() => {});
  try {
    const target = await Promise.race([resolveTarget(url, allowed, resolve), aborted]);
    const { status, location, retryAfter } = await post(target, body, headers, limit);
    if (status >= 200 && status < 300) return { status, error: null, retryAfter: null };
    const isRedirect = status >= 300 && status < 400 && location;
    const error = isRedirect
      ? `it answered ${status}, a redirect; redirects are not followed: give the address that it leads to`
      : `it answered ${status}; 2xx counts as delivered`;
    return { status, error, retryAfter };
  } catch (error) {
    return { status: null, error: explain(error, timeout), retryAfter: null };
  }
}

interface Answer {
  readonly status: number;
  readonly location: boolean;
  readonly retryAfter: number | null;
}

function post(
  { url, addresses }: Target,
  body: string,
  headers: { readonly [name: string]: string },
  signal: AbortSignal,
): Promise<Answer> {
  // The name is not looked up again: what it says by now was never checked.
  const lookup: LookupFunction = (_host, options, done) => {
    if (options.all) done(null, [...addresses]);
    else done(null, addresses[0].address, addresses[0].family);
  };
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? https : http).request({
      protocol: url.protocol,
      hostname: hostOf(url),
      port: url.port,
      path: `${url.pathname}${url.search}`,
      method: 'POST',
      headers: {
        ...headers,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': `findery/${VERSION}`,
      },
      lookup,
      agent: false, // no connection is kept: the next one is checked anew
      signal,
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const seconds = Number(response.headers['retry-after']);
      resolve({
        status: response.statusCode ?? 0,
        location: response.headers.location !== undefined,
        retryAfter: Number.isInteger(seconds) && seconds > 0 ? seconds : null,
      });
      let read = 0;
      response.on('error', () => {});
      response.on('data', (chunk: Buffer) => {
        read += chunk.length;
        if (read > MOST_ANSWER) request.destroy();
      });
    });
    request.end(body);
  });
}

/** Why there was no answer, in words. */
function explain(error: unknown, timeout: number): string {
  if (error instanceof ForbiddenTargetError) return error.message;
  const { name, code, message } = error as NodeJS.ErrnoException;
  if (name === 'TimeoutError' || code === 'ABORT_ERR') return `no answer within ${timeout / 1000} seconds`;
  return `no connection: ${code ?? message}`;
}
