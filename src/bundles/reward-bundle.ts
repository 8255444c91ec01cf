import { basename } from 'node:path';
import { BundleError, type Json, readOptionalJson } from './files.ts';
import { type GraphReward, readGraphReward } from './graph-reward.ts';
import type { RewardDescription } from './reward-description.ts';
import { type ChatReward, type HttpReward, readChatReward, readHttpReward } from './service-reward.ts';

export type { ChatReward, GraphReward, HttpReward, RewardDescription };

export const REWARD_TYPES = ['graph', 'jpeg-size', 'http', 'chat'] as const;
export type RewardType = (typeof REWARD_TYPES)[number];

/** The size of the picture as a JPEG of this quality, in kilobytes: more detail, more bytes. */
export interface JpegSizeReward extends RewardDescription {
  readonly type: 'jpeg-size';
  readonly quality: number;
}

/** A picture and perhaps a prompt to a number. */
export type RewardBundle = GraphReward | JpegSizeReward | HttpReward | ChatReward;

/** Rewards that are there without a folder. They are never the default. */
export const BUILT_IN_REWARDS: readonly RewardBundle[] = [
  {
    type: 'jpeg-size',
    name: 'jpeg-size',
    path: null,
    signature: '',
    title:
      'Size as JPEG of quality 95 in kilobytes: how much there is to see, whatever it is (for tests of black boxes)',
    licence: 'MIT',
    reads: ['image'],
    range: null,
    quality: 95,
  },
];

/** Reads a reward's folder. @throws BundleError when it can't be used */
export async function readRewardBundle(path: string, signature = ''): Promise<RewardBundle> {
  const card = (await readOptionalJson(path, 'findery.json')) ?? {};
  const description = { ...describe(path, card), signature };
  switch (card.type ?? 'graph') {
    case 'graph':
      return readGraphReward(path, card, description);
    case 'http':
      return readHttpReward(card, description);
    case 'chat':
      return readChatReward(card, description);
    default:
      throw new BundleError(
        `findery.json has type ${JSON.stringify(card.type)}; rewards in folders are graph, http or chat`,
      );
  }
}

function describe(path: string, card: Json): Omit<RewardDescription, 'reads' | 'signature'> {
  return {
    name: basename(path),
    path,
    title: typeof card.title === 'string' ? card.title : basename(path),
    licence: typeof card.licence === 'string' ? card.licence : null,
    range: readRange(card.range),
  };
}

function readRange(range: unknown): readonly [number, number] | null {
  if (range === undefined || range === null) return null;
  if (Array.isArray(range) && range.length === 2 && range.every(Number.isFinite) && range[0] < range[1])
    return [range[0], range[1]];
  throw new BundleError(
    `findery.json has range ${JSON.stringify(range)}; it takes two numbers, [lowest, highest]`,
  );
}
