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
}

const DEFAULT_RUBRIC =
  'How well does this picture show what the prompt says? Prompt: "{prompt}". Check every object, its number, its colour and other attributes, and where things are. Beauty does not count. Give the lowest score when hardly anything fits, and the highest only when everything does.';

/** @throws BundleError that names the key of the card */
export function readHttpReward(card: Json, description: Omit<RewardDescription, 'reads'>): HttpReward {
  return {
    ...readService(card, description, 4),
    type: 'http',
    url: readUrl(card.url, 'url'),
    batchSize: readNumber(card, 'batchSize', 8, 1, 256),
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
    baseUrl: readUrl(card.baseUrl, 'baseUrl').replace(/\/+$/, ''),
    model: text('model'),
    rubric: text('rubric', DEFAULT_RUBRIC),
    scale: scale as [number, number],
  };
}

function readService(card: Json, description: Omit<RewardDescription, 'reads'>, concurrency: number): Service {
  const headers = card.headers ?? {};
  const isText = (value: unknown) => typeof value === 'string';
  if (
    typeof headers !== 'object' ||
    headers === null ||
    Array.isArray(headers) ||
    !Object.values(headers).every(isText)
  )
    throw new BundleError(`findery.json has headers ${JSON.stringify(headers)}; it takes an object of texts`);
  return {
    ...description,
    reads: ['image', 'text'],
    headers: headers as { [name: string]: string },
    timeoutSeconds: readNumber(card, 'timeoutSeconds', 30, 0.1, 3600),
    retries: readNumber(card, 'retries', 3, 0, 10),
    concurrency: readNumber(card, 'concurrency', concurrency, 1, 64),
  };
}

function readNumber(card: Json, key: string, fallback: number, minimum: number, maximum: number): number {
  const value = card[key] ?? fallback;
  if (typeof value === 'number' && value >= minimum && value <= maximum) return value;
  throw new BundleError(
    `findery.json has ${key} ${JSON.stringify(value)}; it takes a number from ${minimum} to ${maximum}`,
  );
}

function readUrl(value: unknown, key: string): string {
  if (typeof value === 'string' && URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) return value;
  throw new BundleError(
    `findery.json has ${key} ${JSON.stringify(value)}; it takes an address with http:// or https://`,
  );
}
