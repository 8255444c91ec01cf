import { BundleError, readOptionalJson } from './files.ts';
import { type GraphReward, readGraphReward } from './graph-reward.ts';
import { type RewardDescription, readDescription } from './reward-card.ts';
import {
  type ChatReward,
  type HttpReward,
  readChatReward,
  readHttpReward,
  type ServiceReward,
} from './service-reward.ts';

export type { ChatReward, GraphReward, HttpReward, RewardDescription, ServiceReward };

/** All types of rewards. */
export const REWARD_TYPES = ['graph', 'jpeg-size', 'http', 'chat'] as const;
/** Type of a reward, `type` in its card. */
export type RewardType = (typeof REWARD_TYPES)[number];

/** The size of a picture as JPEG in kilobytes: more detail takes more bytes. */
export interface JpegSizeReward extends RewardDescription {
  readonly type: 'jpeg-size';
  /** JPEG quality, 1 to 100. */
  readonly quality: number;
}

/** Scores a picture, with or without its prompt. */
export type RewardBundle = GraphReward | JpegSizeReward | HttpReward | ChatReward;

/** Rewards that need no folder. They are never the default. */
export const BUILT_IN_REWARDS: readonly RewardBundle[] = [
  {
    type: 'jpeg-size',
    name: 'jpeg-size',
    path: null,
    signature: '',
    title:
      'Size as JPEG of quality 95 in kilobytes: how much detail the picture has, whatever it shows ' +
      '(for tests of black boxes)',
    licence: 'MIT',
    reads: ['image'],
    range: null,
    quality: 95,
  },
];

/**
 * Reads the folder of a reward.
 * @throws BundleError if it cannot be used
 */
export async function readRewardBundle(path: string, signature = ''): Promise<RewardBundle> {
  const card = (await readOptionalJson(path, 'findery.json')) ?? {};
  const description = readDescription(path, card, signature);
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
