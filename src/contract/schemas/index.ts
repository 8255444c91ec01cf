import type { TSchema } from 'typebox';
import * as catalog from './catalog.ts';
import * as common from './common.ts';
import * as createImage from './create-image.ts';
import * as event from './event.ts';
import * as job from './job.ts';
import * as key from './key.ts';
import * as policy from './policy.ts';
import * as progress from './progress.ts';
import * as rewardHistory from './reward-history.ts';
import * as sample from './sample.ts';
import * as usage from './usage.ts';
import * as webhook from './webhook.ts';
import * as webhookBody from './webhook-body.ts';
import * as webhookEndpoint from './webhook-endpoint.ts';

/** All schemas that have a name in the contract, sorted by name. */
export const NAMED_SCHEMAS: readonly TSchema[] = [
  catalog,
  common,
  createImage,
  event,
  job,
  key,
  policy,
  progress,
  rewardHistory,
  sample,
  usage,
  webhook,
  webhookBody,
  webhookEndpoint,
]
  .flatMap((file) => Object.values(file) as unknown[])
  .filter((value): value is TSchema => typeof value === 'object' && value !== null && '$id' in value)
  .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));

function nameOf(schema: TSchema): string {
  return String((schema as { $id?: string }).$id);
}
