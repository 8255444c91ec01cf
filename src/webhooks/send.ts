import http from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';
import { abortedWith } from '../abort.ts';
import type { AllowedTargets } from '../config/allowed-targets.ts';
import { VERSION } from '../version.ts';
import { ForbiddenTargetError, hostOf, type Resolve, resolveTarget, type Target } from './resolve-target.ts';

/** The outcome of an attempt. */
export interface SendResult {
  /** HTTP status; null when there was no answer. */
  readonly status: number | null;
  /**
   * Why the attempt failed, as a phrase for the delivery's list of attempts; null when it
   * succeeded.
   */
  readonly error: string | null;
  /** Seconds of the receiver's `Retry-After`; null without one. */
  readonly retryAfter: number | null;
}

/** How an attempt is made. */
export interface SendOptions {
  readonly allowed: AllowedTargets;
  readonly resolve: Resolve;
  /** Milliseconds for the whole attempt: lookup, connection and answer. */
  readonly timeoutMs: number;
  /** Aborts the attempt. */
  readonly signal?: AbortSignal;
}

/** The connection is closed after as many bytes of an answer, because its body is not used. */
const MAX_ANSWER_BYTES = 65_536;

/**
 * POSTs a body to the addresses that were checked. The status 2xx is success. Redirects are not
 * followed, because their target was not checked. Failures are returned, never thrown.
 */
export async function send(
  url: string,
  body: string,
  headers: { readonly [name: string]: string },
  { allowed, resolve, timeoutMs: timeout, signal }: SendOptions,
): Promise<SendResult> {
  const controller = signal ? abortedWith(signal) : new AbortController();
  const limit = controller.signal;
  // Not cleared by an answer, because its body may never end.
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
      ? `it answered ${status}, a redirect; redirects are not followed: use the URL that it leads to`
      : `it answered ${status}; only 2xx is success`;
    return { status, error, retryAfter };
  } catch (error) {
    return { status: null, error: describeFailure(error, timeout), retryAfter: null };
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
  // The host is not resolved again: it might resolve to an address that was not checked.
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
      agent: false, // no connection is reused, so every attempt checks the address anew
      signal,
    });
    request.on('error', reject);
    request.on('response', (response) => {
      resolve({
        status: response.statusCode ?? 0,
        location: response.headers.location !== undefined,
        retryAfter: parseRetryAfter(response.headers['retry-after'], Date.now()),
      });
      let read = 0;
      response.on('error', () => {});
      response.on('data', (chunk: Buffer) => {
        read += chunk.length;
        if (read > MAX_ANSWER_BYTES) request.destroy();
      });
    });
    request.end(body);
  });
}

/**
 * The seconds of a `Retry-After`: a number or a date (RFC 9110, 10.2.3).
 * @param now milliseconds since 1970
 * @returns null for a header that is missing, malformed or in the past
 */
export function parseRetryAfter(header: string | undefined, now: number): number | null {
  if (header === undefined) return null;
  const seconds = /^\d+$/.test(header) ? Number(header) : Math.ceil((Date.parse(header) - now) / 1000);
  return Number.isSafeInteger(seconds) && seconds > 0 ? seconds : null;
}

/** Says why there was no answer. */
function describeFailure(error: unknown, timeout: number): string {
  if (error instanceof ForbiddenTargetError) return error.message;
  const { name, code, message } = error as NodeJS.ErrnoException;
  if (name === 'TimeoutError' || code === 'ABORT_ERR') return `no answer within ${timeout / 1000} seconds`;
  return `no connection: ${code ?? message}`;
}
