import { BundleError, type Json } from './files.ts';
import type { RewardDescription } from './reward-description.ts';

/** How a service is called; the same for all that are asked over HTTP. */
interface Service extends RewardDescription {
  /** Sent with each request; `${NAME}` stands for an environment variable of the worker. */
  readonly headers: { readonly [name: string]: string };
  /** Seconds for one answer. */
  readonly timeoutSeconds: number;
  /** Tries after the first one, for what may pass: no connection, no answer in time, 429, 5xx. */
  readonly retries: number;
  /** Requests at a time. */
  readonly concurrency: number;
}

/** A service of the user's that takes pictures and prompt and returns scores (README, "Rewards"). */
export interface HttpReward extends Service {
  readonly type: 'http';
  readonly url: string;
  /** Most pictures in one request. */
  readonly batchSize: number;
}

/** A language model that sees pictures, behind an OpenAI-compatible endpoint, as the judge. */
export interface ChatReward extends Service {
  readonly type: 'chat';
  /** Up to and without `/chat/completions`. */
  readonly baseUrl: string;
  readonly model: string;
  /** What it judges by; `{prompt}` stands for the prompt. */
  readonly rubric: string;
  /** Lowest and highest score that it may give; mapped to `range`, or to [0, 1] without one. */
  readonly scale: readonly [number, number];
  /** null: not sent, for models that take none. */
  readonly temperature: number | null;
}

const DEFAULT_RUBRIC =
  'How well does this picture show what the prompt says? Prompt: "{prompt}". Check every object, its number, its colour and other attributes, and where things are. Beauty does not count. Give the lowest score when hardly anything fits, and the highest only when everything does.';

/** @throws BundleError that names the key of the card */
export function readHttpReward(card: Json, description: Omit<RewardDescription, 'reads'>): HttpReward {
  return {
    ...readService(card, description, 4),
    type: 'http',
    url: readUrl(card.url, 'url'),
    batchSize: readCount(card, 'batchSize', 8, 1, 256),
  };
}

/** @throws BundleError that names the key of the card */
export function readChatReward(card: Json, description: Omit<RewardDescription, 'reads'>): ChatReward {
  const text = (key: string, fallback?: string) => {
    const value = card[key] ?? fallback;
    if (typeof value === 'string' && value.trim() !== '') return value;
    throw new BundleError(
      `findery.json has ${key} ${JSON.stringify(card[key])}; a reward of type chat needs it as text`,
    );
  };
  const scale = card.scale ?? [0, 10];
  if (!Array.isArray(scale) || scale.length !== 2 || !scale.every(Number.isFinite) || scale[0] >= scale[1])
    throw new BundleError(`findery.json has scale ${JSON.stringify(scale)}; it takes [lowest, highest]`);
  return {
    ...readService(card, description, 8),
    type: 'chat',
    baseUrl: readUrl(card.baseUrl, 'baseUrl'),
    model: text('model'),
    rubric: text('rubric', DEFAULT_RUBRIC),
    scale: scale as [number, number],
    temperature: card.temperature === null ? null : readNumber(card, 'temperature', 0, 0, 2),
  };
}

function readService(
  card: Json,
  description: Omit<RewardDescription, 'reads'>,
  concurrency: number,
): Service {
  return {
    ...description,
    reads: ['image', 'text'],
    headers: readHeaders(card.headers ?? {}),
    timeoutSeconds: readNumber(card, 'timeoutSeconds', 30, 0.1, 3600),
    retries: readCount(card, 'retries', 3, 0, 10),
    concurrency: readCount(card, 'concurrency', concurrency, 1, 64),
  };
}

function readHeaders(headers: unknown): { readonly [name: string]: string } {
  const isObject = typeof headers === 'object' && headers !== null && !Array.isArray(headers);
  if (!isObject || !Object.values(headers).every((value) => typeof value === 'string'))
    throw new BundleError(`findery.json has headers ${JSON.stringify(headers)}; it takes an object of texts`);
  // RFC 9110, section 5.6.2: what a field name may be made of.
  const wrong = Object.keys(headers).find((name) => !/^[\w!#$%&'*+.^`|~-]+$/.test(name));
  if (wrong !== undefined)
    throw new BundleError(
      `findery.json has headers with the name ${JSON.stringify(wrong)}; names are letters, digits and hyphens`,
    );
  return headers as { [name: string]: string };
}

function readCount(card: Json, key: string, fallback: number, minimum: number, maximum: number): number {
  const value = card[key] ?? fallback;
  if (Number.isInteger(value)) return readNumber(card, key, fallback, minimum, maximum);
  throw new BundleError(
    `findery.json has ${key} ${JSON.stringify(value)}; it takes a whole number from ${minimum} to ${maximum}`,
  );
}

function readNumber(card: Json, key: string, fallback: number, minimum: number, maximum: number): number {
  const value = card[key] ?? fallback;
  if (typeof value === 'number' && value >= minimum && value <= maximum) return value;
  throw new BundleError(
    `findery.json has ${key} ${JSON.stringify(value)}; it takes a number from ${minimum} to ${maximum}`,
  );
}

function readUrl(value: unknown, key: string): string {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (!url || !/^https?:$/.test(url.protocol))
    throw new BundleError(
      `findery.json has ${key} ${JSON.stringify(value)}; it takes an address with http:// or https://`,
    );
  // Not a word of what it is: problems of bundles are told to clients.
  if (url.username || url.password)
    throw new BundleError(
      `findery.json has ${key} with a user name or password in it; put them into headers, as {"Authorization": "Basic \${NAME_OF_ENV_VARIABLE}"}`,
    );
  return url.href;
}
