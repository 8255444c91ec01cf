import { setTimeout as sleep } from 'node:timers/promises';
import { RewardError, shorten } from './scorer.ts';

/** Largest answer that is read: scores are short. */
const MOST_BYTES = 1_000_000;
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 30_000;

export interface ServiceCall {
  /** Of the reward, for messages. */
  readonly name: string;
  readonly url: string;
  readonly headers: { readonly [name: string]: string };
  readonly timeoutSeconds: number;
  readonly retries: number;
  readonly body: unknown;
  readonly signal?: AbortSignal;
}

/**
 * POSTs JSON and reads the JSON that comes back. What may pass (no connection, no answer in time, 429, 5xx) is tried again after pauses that
 * double, with jitter, or that `Retry-After` names. Redirects are not followed.
 * @throws RewardError, transient when the last try failed so; the signal's reason when aborted
 */
export async function callService(call: ServiceCall): Promise<unknown> {
  for (let attempt = 0; ; attempt++) {
    call.signal?.throwIfAborted();
    try {
      return await callOnce(call);
    } catch (error) {
      call.signal?.throwIfAborted();
      if (!(error instanceof Passing)) throw error;
      if (attempt >= call.retries) {
        const tries = attempt === 0 ? 'once' : `${attempt + 1} times`;
        throw new RewardError(
          `The reward "${call.name}" at ${call.url} was asked ${tries} and gave no scores: ${error.message}. Start it or make it faster, or raise timeoutSeconds or retries in its findery.json.`,
          { isTransient: true },
        );
      }
      const pause = error.pause ?? FIRST_PAUSE * 2 ** attempt * (0.5 + Math.random());
      await sleep(Math.min(pause, LONGEST_PAUSE), undefined, { signal: call.signal });
    }
  }
}

/** Something that may pass by itself. */
class Passing extends Error {
  readonly pause: number | undefined;

  constructor(message: string, pause?: number) {
    super(message);
    this.pause = pause;
  }
}

async function callOnce({ name, url, headers, timeoutSeconds, body, signal }: ServiceCall): Promise<unknown> {
  const timeout = AbortSignal.timeout(timeoutSeconds * 1000);
  const refuse = (what: string): never => {
    throw new RewardError(`The reward "${name}" at ${url} ${what}`, { isTransient: false });
  };
  let status: number;
  let retryAfter: string | null;
  let text: string;
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { accept: 'application/json', 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      redirect: 'manual',
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    status = response.status;
    retryAfter = response.headers.get('retry-after');
    text = await readText(response);
  } catch (error) {
    if (timeout.aborted) throw new Passing(`no answer within ${timeoutSeconds} s`);
    if (error instanceof TypeError) {
      const cause = error.cause as { code?: string; message?: string } | undefined;
      throw new Passing(`no connection (${cause?.code ?? cause?.message ?? error.message})`);
    }
    throw error;
  }
  if (status === 429 || status >= 500) throw new Passing(`it answered ${status} ${shorten(text)}`, pauseOf(retryAfter));
  if (status < 200 || status >= 300) refuse(`answered ${status} ${shorten(text)}; it has to answer 200 with JSON.`);
  try {
    return JSON.parse(text);
  } catch {
    return refuse(`answered with ${shorten(text)}, which is not JSON.`);
  }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MOST_BYTES)
      throw new RewardError(`${response.url} answered with more than ${MOST_BYTES} bytes; scores are short.`, {
        isTransient: false,
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** `Retry-After` in milliseconds: seconds or a date. */
function pauseOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const milliseconds = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : undefined;
}

/**
 * Headers with the variables that they name.
 * @throws RewardError when the worker has no such variable
 */
export function expandHeaders(
  name: string,
  headers: { readonly [header: string]: string },
  environment: { readonly [variable: string]: string | undefined },
): { [header: string]: string } {
  const expand = (text: string) =>
    text.replace(/\$\{(\w+)\}/g, (_, variable: string) => {
      const value = environment[variable];
      if (value !== undefined) return value;
      throw new RewardError(
        `The reward "${name}" sends a header with the environment variable ${variable}, which the worker has not; set it where the worker is started.`,
        { isTransient: false },
      );
    });
  return Object.fromEntries(Object.entries(headers).map(([header, text]) => [header, expand(text)]));
}

/** Runs the calls, at most `limit` at a time; their results in order. The first failure ends it. */
export async function inParallel<T>(calls: readonly (() => Promise<T>)[], limit: number): Promise<T[]> {
  const results: T[] = [];
  const waiting = calls.entries();
  const work = async () => {
    for (const [i, call] of waiting) results[i] = await call();
  };
  await Promise.all(Array.from({ length: Math.min(limit, calls.length) }, work));
  return results;
}
