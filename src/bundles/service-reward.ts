import { isObject } from '../core/is-object.ts';
import { BundleError, type Json } from './files.ts';
import { type CardDescription, isInterval, type RewardDescription, readCardNumber } from './reward-card.ts';

/** A reward whose scores come from a service over HTTP, and how the service is called. */
export interface ServiceReward extends RewardDescription {
  /** Headers of each request; `${NAME}` stands for an environment variable of the worker. */
  readonly headers: { readonly [name: string]: string };
  /** Timeout of one request in seconds. */
  readonly timeoutSeconds: number;
  /** Further tries after a failure that may pass: no connection, timeout, 408, 425, 429, 5xx. */
  readonly retries: number;
  /** Maximum number of requests at the same time. */
  readonly concurrency: number;
}

/** A service of the operator's: pictures and prompt in, scores out (`rewards/http.ts`). */
export interface HttpReward extends ServiceReward {
  readonly type: 'http';
  readonly url: string;
  /** Maximum number of pictures in one request. */
  readonly batchSize: number;
}

/** A vision language model as judge, behind an OpenAI-compatible endpoint (`rewards/chat.ts`). */
export interface ChatReward extends ServiceReward {
  readonly type: 'chat';
  /** Address of the API, up to and without `/chat/completions`. */
  readonly baseUrl: string;
  readonly model: string;
  /** Criteria of the judgement; `{prompt}` stands for the prompt. */
  readonly rubric: string;
  /** `json`: scores in the answer's text; `yes-probability`: how likely the answer "Yes" is. */
  readonly answer: 'json' | 'yes-probability';
  /** Lowest and highest score of the judge; mapped to `range`, or to [0, 1] without one. */
  readonly scale: readonly [number, number];
  /** Maximum number of pictures in one request. */
  readonly batchSize: number;
  /** Limit of the answer in tokens, reasoning included; null: the server's default. */
  readonly maxTokens: number | null;
  /** null: not sent, for models that do not accept it. */
  readonly temperature: number | null;
}

const DEFAULT_RUBRIC =
  'How well does this picture show what the prompt says? Prompt: "{prompt}". Check every object, its ' +
  'number, its colour and other attributes, and where things are. Beauty does not count. Give the lowest ' +
  'score when hardly anything fits, and the highest only when everything does.';

/** The question of VQAScore (Lin et al. 2024, arXiv 2404.01291). */
const YES_RUBRIC = 'Does this figure show "{prompt}"? Please answer yes or no.';

/**
 * Reads the card of a reward of type `http`.
 * @throws BundleError that names the key of the card
 */
export function readHttpReward(card: Json, description: CardDescription): HttpReward {
  return {
    ...readService(card, description, { concurrency: 4 }),
    type: 'http',
    url: readUrl(card.url, 'url'),
    batchSize: readCount(card, 'batchSize', 8, 1, 256),
  };
}

/**
 * Reads the card of a reward of type `chat`.
 * @throws BundleError that names the key of the card
 */
export function readChatReward(card: Json, description: CardDescription): ChatReward {
  const text = (key: string, fallback?: string) => {
    const value = card[key] ?? fallback;
    if (typeof value === 'string' && value.trim() !== '') return value;
    throw new BundleError(
      `findery.json has ${key} ${JSON.stringify(card[key])}; a reward of type chat needs text there`,
    );
  };
  const answer = card.answer ?? 'json';
  if (answer !== 'json' && answer !== 'yes-probability')
    throw new BundleError(
      `findery.json has answer ${JSON.stringify(answer)}; it takes "json" or "yes-probability"`,
    );
  const isProbability = answer === 'yes-probability';
  const scale = card.scale ?? (isProbability ? [0, 1] : [0, 10]);
  if (!isInterval(scale))
    throw new BundleError(`findery.json has scale ${JSON.stringify(scale)}; it takes [lowest, highest]`);
  const hasTokenLimit = isProbability || (card.maxTokens !== undefined && card.maxTokens !== null);
  return {
    ...readService(card, description, { concurrency: 8 }),
    type: 'chat',
    baseUrl: readUrl(card.baseUrl, 'baseUrl'),
    model: text('model'),
    rubric: text('rubric', isProbability ? YES_RUBRIC : DEFAULT_RUBRIC),
    answer,
    scale,
    batchSize: readCount(card, 'batchSize', 1, 1, isProbability ? 1 : 64),
    maxTokens: hasTokenLimit ? readCount(card, 'maxTokens', 1, 1, 1_000_000) : null,
    temperature:
      card.temperature === null
        ? null
        : readCardNumber(card.temperature, 'temperature', { fallback: 0, minimum: 0, maximum: 2 }),
  };
}

function readService(
  card: Json,
  description: CardDescription,
  defaults: { readonly concurrency: number },
): ServiceReward {
  const timeout = { fallback: 30, minimum: 0.1, maximum: 3600 };
  return {
    ...description,
    reads: ['image', 'text'],
    headers: readHeaders(card.headers ?? {}),
    timeoutSeconds: readCardNumber(card.timeoutSeconds, 'timeoutSeconds', timeout),
    retries: readCount(card, 'retries', 3, 0, 10),
    concurrency: readCount(card, 'concurrency', defaults.concurrency, 1, 64),
  };
}

function readHeaders(headers: unknown): { readonly [name: string]: string } {
  if (!isObject(headers) || !Object.values(headers).every((value) => typeof value === 'string'))
    throw new BundleError(`findery.json has headers ${JSON.stringify(headers)}; it takes an object of texts`);
  // RFC 9110, section 5.6.2: the characters of a field name.
  const wrong = Object.keys(headers).find((name) => !/^[\w!#$%&'*+.^`|~-]+$/.test(name));
  if (wrong !== undefined)
    throw new BundleError(
      `findery.json has headers with the name ${JSON.stringify(wrong)}; ` +
        'names are letters, digits and hyphens',
    );
  return headers as { [name: string]: string };
}

function readCount(card: Json, key: string, fallback: number, minimum: number, maximum: number): number {
  return readCardNumber(card[key], key, { fallback, minimum, maximum, isWhole: true });
}

function readUrl(value: unknown, key: string): string {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (!url || !/^https?:$/.test(url.protocol))
    throw new BundleError(
      `findery.json has ${key} ${JSON.stringify(value)}; it takes an address with http:// or https://`,
    );
  // The message must not quote the password: clients read the problems of bundles.
  if (url.username || url.password)
    throw new BundleError(
      `findery.json has ${key} with a user name or password in it; put them into headers, as ` +
        `{"Authorization": "Basic \${NAME_OF_ENV_VARIABLE}"}`,
    );
  return url.href;
}
