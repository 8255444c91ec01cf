import { setTimeout as sleep } from 'node:timers/promises';
import { RewardError, shorten } from './scorer.ts';

/** Largest answer that is read: scores are short. */
const MOST_BYTES = 1_000_000;
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 30_000;

/** Longest pause that a service may ask for with `Retry-After`. */
const LONGEST_ASKED_PAUSE = 300_000;

export interface ServiceCall {
  /** Of the reward, for messages. */
  readonly name: string;
  readonly url: string;
  readonly headers: Headers;
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
          `The reward "${call.name}" at ${addressOf(call.url)} was asked ${tries} and gave no scores: ${error.message}. Start it or make it faster, or raise timeoutSeconds or retries in its findery.json.`,
          { isTransient: true },
        );
      }
      const pause = Math.min(FIRST_PAUSE * 2 ** attempt * (0.5 + Math.random()), LONGEST_PAUSE);
      await sleep(error.pause ?? pause, undefined, { signal: call.signal }).catch(() =>
        call.signal?.throwIfAborted(),
      );
    }
  }
}

/** An address as clients may read it: without its query, where some services want their keys. */
export function addressOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
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
  const refuse = (what: string, status?: number): never => {
    throw new RewardError(`The reward "${name}" at ${addressOf(url)} ${what}`, {
      isTransient: false,
      status,
    });
  };
  let status: number;
  let retryAfter: string | null;
  let text: string | null;
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers,
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
  const found = text === null ? `more than ${MOST_BYTES} bytes` : shorten(text);
  if (status === 429 || status >= 500)
    throw new Passing(`it answered ${status} ${found}`, pauseOf(retryAfter));
  if (status < 200 || status >= 300)
    refuse(`answered ${status} ${found}; it has to answer 200 with JSON.`, status);
  if (text === null) return refuse(`answered with ${found}; scores are short.`);
  try {
    return JSON.parse(text);
  } catch {
    return refuse(`answered with ${found}, which is not JSON.`);
  }
}

/** null: it is longer than is read. */
async function readText(response: Response): Promise<string | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MOST_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** `Retry-After` in milliseconds: seconds or a date. */
function pauseOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const milliseconds = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(milliseconds) ? Math.min(Math.max(0, milliseconds), LONGEST_ASKED_PAUSE) : undefined;
}
