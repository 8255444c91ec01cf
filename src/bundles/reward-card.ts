import { basename } from 'node:path';
import { BundleError, type Json } from './files.ts';

/** Properties of every reward, whatever computes its scores. Higher scores are better. */
export interface RewardDescription {
  readonly name: string;
  /** Folder of the reward; null for a built-in one. */
  readonly path: string | null;
  /** Changes with the files of the folder; empty if they were not listed. */
  readonly signature: string;
  readonly title: string;
  readonly licence: string | null;
  /** Inputs of the reward: the picture, and the prompt if it has `text`. */
  readonly reads: readonly ('image' | 'text')[];
  /** Lowest and highest usual score; null if unknown. */
  readonly range: readonly [number, number] | null;
}

/** A description without `reads`, which depends on the type of the reward. */
export type CardDescription = Omit<RewardDescription, 'reads'>;

/**
 * Reads the keys that the cards (`findery.json`) of all rewards share.
 * @param path folder of the reward; its name is the default title
 * @throws BundleError that names the key
 */
export function readDescription(path: string, card: Json, signature: string): CardDescription {
  return {
    name: basename(path),
    path,
    signature,
    title: typeof card.title === 'string' ? card.title : basename(path),
    licence: typeof card.licence === 'string' ? card.licence : null,
    range: readRange(card.range),
  };
}

function readRange(range: unknown): readonly [number, number] | null {
  if (range === undefined || range === null) return null;
  if (isInterval(range)) return range;
  throw new BundleError(
    `findery.json has range ${JSON.stringify(range)}; it takes two numbers, [lowest, highest]`,
  );
}

/** Whether a value from a card is a pair of finite numbers, the lower one first. */
export function isInterval(value: unknown): value is readonly [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) && value[0] < value[1];
}

/**
 * A number from a card.
 * @param key name of the number, for the message
 * @param limits `fallback` is used if the value is absent or null; the limits are inclusive
 * @throws BundleError that names the key and what it takes
 */
export function readCardNumber(
  value: unknown,
  key: string,
  limits: {
    readonly fallback: number;
    readonly minimum?: number;
    readonly maximum?: number;
    readonly isWhole?: boolean;
  },
): number {
  const {
    fallback,
    minimum = Number.NEGATIVE_INFINITY,
    maximum = Number.POSITIVE_INFINITY,
    isWhole = false,
  } = limits;
  const number = value ?? fallback;
  const fits = isWhole ? Number.isInteger(number) : Number.isFinite(number);
  if (typeof number === 'number' && fits && number >= minimum && number <= maximum) return number;
  const range = Number.isFinite(minimum) ? ` from ${minimum} to ${maximum}` : '';
  throw new BundleError(
    `findery.json has ${key} ${JSON.stringify(number)}; it takes a ${isWhole ? 'whole ' : ''}number${range}`,
  );
}
