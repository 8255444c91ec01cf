import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceReward } from '../bundles/reward-bundle.ts';
import { excerpt, RewardError } from './scorer.ts';
import { errorMessage, isTransientStatus, reportedError } from './service-error.ts';

/** Longer answers are refused: scores are short. */
const MAX_ANSWER_BYTES = 1_000_000;
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 30_000;
/** Longest pause that a service may request with `Retry-After`. */
const MAX_REQUESTED_PAUSE_MS = 300_000;

/** One request to the service behind a reward. */
export interface ServiceCall {
  readonly url: string;
  /** Sent as JSON. */
  readonly body: unknown;
  /** Variables that the headers of the reward's card may name. */
  readonly environment: Environment;
  readonly signal?: AbortSignal;
}

type Environment = { readonly [variable: string]: string | undefined };

/**
 * POSTs JSON and returns the JSON of the answer. Redirects are not followed.
 *
 * Failures that may pass (no connection, timeout, 408, 425, 429, 5xx, also as an error inside of a
 * 200) are retried, after `Retry-After` or else after pauses that double from `FIRST_PAUSE_MS`,
 * with jitter.
 * @throws RewardError, transient if the retries are used up; the signal's reason if it is aborted
 */
export async function callService(reward: ServiceReward, call: ServiceCall): Promise<unknown> {
  const headers = requestHeaders(reward, call.environment);
  for (let attempt = 0; ; attempt++) {
    call.signal?.throwIfAborted();
    try {
      return await callOnce(reward, call, headers);
    } catch (error) {
      call.signal?.throwIfAborted();
      if (!(error instanceof TransientFailure)) throw error;
      if (attempt >= reward.retries) {
        const tries = attempt === 0 ? 'once' : `${attempt + 1} times`;
        throw new RewardError(
          `The reward "${reward.name}" at ${withoutQuery(call.url)} was asked ${tries} and gave no scores: ` +
            `${error.message}. Start the service or make it faster, or raise timeoutSeconds or retries in ` +
            'its findery.json.',
          { isTransient: true, status: error.status },
        );
      }
      const backoff = Math.min(FIRST_PAUSE_MS * 2 ** attempt * (0.5 + Math.random()), MAX_PAUSE_MS);
      await sleep(error.retryAfterMs ?? backoff, undefined, { signal: call.signal }).catch(() =>
        call.signal?.throwIfAborted(),
      );
    }
  }
}

/**
 * The address without its query, where some services expect their keys; safe to show to clients.
 */
export function withoutQuery(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

/** A failure that a later try may not have. */
class TransientFailure extends Error {
  /** HTTP status of the answer; undefined without one. */
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, answer: { readonly status?: number; readonly retryAfterMs?: number } = {}) {
    super(message);
    this.status = answer.status;
    this.retryAfterMs = answer.retryAfterMs;
  }
}

async function callOnce(
  { name, timeoutSeconds }: ServiceReward,
  { url, body, signal }: ServiceCall,
  headers: Headers,
): Promise<unknown> {
  const timeout = AbortSignal.timeout(timeoutSeconds * 1000);
  const reject = (what: string, status?: number): never => {
    throw new RewardError(`The reward "${name}" at ${withoutQuery(url)} ${what}`, {
      isTransient: false,
      status,
    });
  };
  let status: number;
  let responseHeaders: Headers;
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
    responseHeaders = response.headers;
    text = await readText(response);
  } catch (error) {
    if (timeout.aborted) throw new TransientFailure(`no answer within ${timeoutSeconds} s`);
    if (error instanceof TypeError) {
      const cause = error.cause as { code?: string; message?: string } | undefined;
      throw new TransientFailure(`no connection (${cause?.code ?? cause?.message ?? error.message})`);
    }
    throw error;
  }
  const tooLong = `more than ${MAX_ANSWER_BYTES} bytes`;
  const retryAfterMs = requestedPause(responseHeaders.get('retry-after'));
  if (status >= 300 && status < 400) reject(describeRedirect(url, status, responseHeaders), status);
  if (status < 200 || status >= 300) {
    const found = `${status} ${text === null ? tooLong : excerpt(errorMessage(text))}`;
    if (isTransientStatus(status))
      throw new TransientFailure(`it answered ${found}`, { status, retryAfterMs });
    reject(`answered ${found}; it has to answer 200 with JSON.`, status);
  }
  if (text === null) return reject(`answered with ${tooLong}; answer with the scores only.`);
  const answer = parseJson(text) ?? reject(`answered with ${excerpt(text)}, which is not JSON.`);
  const reported = reportedError(answer.value);
  if (!reported) return answer.value;
  const found = `200 with the error ${excerpt(reported.error)}`;
  if (reported.isTransient) throw new TransientFailure(`it answered ${found}`, { retryAfterMs });
  return reject(`answered ${found}.`);
}

function parseJson(text: string): { readonly value: unknown } | null {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return null;
  }
}

/**
 * Says where a redirect leads. It is not followed: the pictures and the headers of a card go to no
 * address but the card's.
 */
function describeRedirect(url: string, status: number, headers: Headers): string {
  const location = headers.get('location');
  const target = location === null ? null : URL.parse(location, url);
  const goal = target ? `a redirect to ${withoutQuery(target.href)}` : 'a redirect without an address';
  return (
    `answered ${status} (${goal}); it has to answer 200 with JSON. Redirects are not followed: put the ` +
    'address that it leads to into its findery.json.'
  );
}

/** The body as text; null if it exceeds `MAX_ANSWER_BYTES`. */
async function readText(response: Response): Promise<string | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_ANSWER_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** `Retry-After` (seconds or a date) in milliseconds, limited to `MAX_REQUESTED_PAUSE_MS`. */
function requestedPause(header: string | null): number | undefined {
  if (header === null) return undefined;
  const milliseconds = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  if (!Number.isFinite(milliseconds)) return undefined;
  return Math.min(Math.max(0, milliseconds), MAX_REQUESTED_PAUSE_MS);
}

/**
 * The headers of a request: those of JSON, then those of the card, in which `${NAME}` stands for an
 * environment variable. Error messages never contain the value of a variable: clients read them.
 * @throws RewardError if a variable is missing or empty, or its value is not valid in a header
 */
function requestHeaders({ name, headers }: ServiceReward, environment: Environment): Headers {
  const result = new Headers({ accept: 'application/json', 'content-type': 'application/json' });
  for (const [header, template] of Object.entries(headers)) {
    const value = template.replace(/\$\{(\w+)\}/g, (_, variable: string) => {
      const found = environment[variable];
      if (found) return found;
      throw new RewardError(
        `The reward "${name}" sends a header with the environment variable ${variable}, which is not set ` +
          'in the worker, or is empty. Set it where the worker is started.',
        { isTransient: false },
      );
    });
    try {
      result.set(header, value);
    } catch {
      throw new RewardError(
        `The reward "${name}" has a header "${header}" whose value is not valid in a request (does it ` +
          'contain a line break?). Correct it in its findery.json, or in the environment variable that ' +
          'it names.',
        { isTransient: false },
      );
    }
  }
  return result;
}
