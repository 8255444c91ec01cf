import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Catalog, RewardBundle } from '../../bundles/catalog.ts';
import { Reward } from '../../contract/schemas/catalog.ts';
import { brokenBundles, type LoadedBundles, listLoaded } from '../catalog/bundles.ts';
import { ListOf, responses } from '../http/route-schemas.ts';

/** The installed rewards. */
export const rewards: FastifyPluginAsyncTypebox = async (app) => {
  const { store, catalog } = app.services;

  app.get(
    '/v1/rewards',
    {
      schema: {
        operationId: 'listRewards',
        summary: 'List the installed rewards, also damaged ones',
        tags: ['catalog'],
        response: responses({ 200: ListOf(Reward) }),
      },
    },
    async () => {
      const installed = await catalog.now();
      const loaded = await listLoaded(store);
      const damaged = brokenBundles(installed, 'reward').map(
        (bundle): Reward => ({ object: 'reward', ...bundle, type: null, reads: [], range: null }),
      );
      return {
        data: [...installed.rewards.map((reward) => viewReward(reward, installed, loaded)), ...damaged],
      };
    },
  );
};

function viewReward(reward: RewardBundle, installed: Catalog, loaded: LoadedBundles): Reward {
  return {
    object: 'reward',
    name: reward.name,
    type: reward.type,
    title: reward.title,
    licence: reward.licence,
    // Rewards without a path are built in; they are never the default.
    default: reward === installed.rewards.find(({ path }) => path !== null),
    reads: [...reward.reads],
    range: reward.range && [...reward.range],
    available: true,
    problem: null,
    loadedBy: loaded.workersOf(reward.name),
  };
}
