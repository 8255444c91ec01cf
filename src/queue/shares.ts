import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';

/** Message on `RedisKeys.shareMessages` that there are shares for helpers. */
export const SHARES_OPENED = 'opened';

/**
 * Time after which Redis forgets an evaluation whose coordinator no longer renews it. Longer than a
 * restart of Redis takes; all of its keys are gone then, whatever has died.
 */
const TIME_TO_LIVE_MS = 60_000;

/** An evaluation whose shares helpers may take. */
export interface SharedEvaluation {
  /** Id of the job. */
  readonly jobId: string;
  readonly tenant: string;
  /** Unique for each evaluation. */
  readonly evaluation: string;
  /** Of the coordinator's lease of the job. */
  readonly leaseToken: string;
  /** Workers of the same kind compute the same bits. */
  readonly kind: string;
  /** Number of helpers at the same time. */
  readonly maxHelpers: number;
  /** Id of the worker that has the job. */
  readonly coordinator: string;
  /** JSON of each share. The first share is the coordinator's. */
  readonly tasks: readonly string[];
}

/** A share that a helper has taken. */
export interface TakenShare {
  readonly jobId: string;
  readonly evaluation: string;
  readonly index: number;
  /** As the coordinator wrote it. */
  readonly task: string;
}

/** What the coordinator does next. */
export type NextShare =
  | { readonly kind: 'taken'; readonly index: number }
  /** Helpers have all that is left; a share is given out again after this time. */
  | { readonly kind: 'wait'; readonly milliseconds: number }
  /** All shares are done, or Redis has lost the evaluation. */
  | { readonly kind: 'ended' };

const openShares = defineScript<0 | 1>(import.meta.url, './lua/open-shares.lua');
const nextShare = defineScript<[NextShare['kind'], number]>(import.meta.url, './lua/next-share.lua');
const takeShare = defineScript<[string, string, number, string] | null>(
  import.meta.url,
  './lua/take-share.lua',
);
const endShare = defineScript<0 | 1>(import.meta.url, './lua/end-share.lua');
const closeShares = defineScript<null>(import.meta.url, './lua/close-shares.lua');

/**
 * Shares of evaluations in Redis: noise keys, references and scalars, never a tensor or a picture.
 * `lua/includes/shares.lua` has the fields.
 */
export class Shares {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Offers an evaluation to helpers. It has to be renewed until it is closed.
   * @returns false when another worker has the job
   */
  async open({ jobId, leaseToken, tasks, ...others }: SharedEvaluation): Promise<boolean> {
    const answer = await openShares(this.#redis, {
      keys: { record: this.#keys.record(jobId), ...this.#both(jobId) },
      args: {
        id: jobId,
        leaseToken,
        tasksJson: JSON.stringify(tasks),
        milliseconds: TIME_TO_LIVE_MS,
        ...others,
        ...this.#messages(),
      },
    });
    return answer === 1;
  }

  /**
   * Keeps an evaluation alive until it is closed.
   * @returns a function that ends it
   */
  keepAlive(jobId: string): () => void {
    const renew = () => {
      const pipeline = this.#redis.pipeline();
      for (const key of Object.values(this.#both(jobId))) pipeline.pexpire(key, TIME_TO_LIVE_MS);
      pipeline.exec().catch(() => {}); // the next renewal may succeed
    };
    const timer = setInterval(renew, TIME_TO_LIVE_MS / 4);
    return () => clearInterval(timer);
  }

  /**
   * The coordinator's next share: a free one, else the one that was taken longest ago, if that is
   * `maxAgeMs` ago.
   * @param finished index of the share that the coordinator has evaluated; null: none
   */
  async next(
    { jobId, evaluation, coordinator }: Pick<SharedEvaluation, 'jobId' | 'evaluation' | 'coordinator'>,
    { finished, maxAgeMs }: { readonly finished: number | null; readonly maxAgeMs: number },
  ): Promise<NextShare> {
    const [kind, value] = await nextShare(this.#redis, {
      keys: { sharesKey: this.#keys.shares(jobId) },
      args: {
        evaluation,
        coordinator,
        finished: finished ?? -1,
        maxAge: Math.ceil(maxAgeMs),
        milliseconds: TIME_TO_LIVE_MS,
        ...this.#messages(),
      },
    });
    if (kind === 'taken') return { kind, index: value };
    return kind === 'wait' ? { kind, milliseconds: value } : { kind };
  }

  /**
   * Takes a share for a helper, fairly between tenants and jobs.
   * @param excluded ids of jobs whose shares it does not take
   */
  async take(helper: string, kind: string, excluded: readonly string[]): Promise<TakenShare | null> {
    const answer = await takeShare(this.#redis, {
      keys: { openShares: this.#keys.openShares() },
      args: {
        sharesPrefix: this.#keys.sharesPrefix(),
        helper,
        kind,
        excludedJson: JSON.stringify(excluded),
      },
    });
    if (answer === null) return null;
    const [jobId, evaluation, index, task] = answer;
    return { jobId, evaluation, index, task };
  }

  /**
   * Stores the result of a helper. The first result of a share counts.
   * @param result JSON
   * @returns whether it counts
   */
  async finish(share: TakenShare, helper: string, result: string): Promise<boolean> {
    return (await this.#end(share, helper, { result, mayRetry: 1 })) === 1;
  }

  /**
   * Gives a share back without a result.
   * @param options `mayRetry: false`: the coordinator has to evaluate it
   */
  async giveBack(
    share: TakenShare,
    helper: string,
    { mayRetry }: { readonly mayRetry: boolean },
  ): Promise<void> {
    await this.#end(share, helper, { result: '', mayRetry: mayRetry ? 1 : 0 });
  }

  /**
   * Results of helpers, by the index of their share: JSON; '' for a share that the coordinator has
   * evaluated, null for one without a result. Null when the evaluation is over.
   */
  async results(
    jobId: string,
    evaluation: string,
    indices: readonly number[],
  ): Promise<(string | null)[] | null> {
    const fields = indices.map((index) => `result:${index}`);
    const [current, ...found] = await this.#redis.hmget(this.#keys.shares(jobId), 'evaluation', ...fields);
    return current === evaluation ? found : null;
  }

  /** Ends an evaluation and wakes the helpers that have shares of it. */
  async close(jobId: string, evaluation: string): Promise<void> {
    const { channel } = this.#messages();
    await closeShares(this.#redis, { keys: this.#both(jobId), args: { id: jobId, evaluation, channel } });
  }

  #end(
    { jobId, evaluation, index }: TakenShare,
    helper: string,
    ending: { readonly result: string; readonly mayRetry: 0 | 1 },
  ): Promise<0 | 1> {
    return endShare(this.#redis, {
      keys: { sharesKey: this.#keys.shares(jobId) },
      args: { evaluation, index, helper, id: jobId, ...ending, ...this.#messages() },
    });
  }

  #both(jobId: string) {
    return { sharesKey: this.#keys.shares(jobId), openShares: this.#keys.openShares() };
  }

  #messages() {
    return { channel: this.#keys.shareMessages(), message: SHARES_OPENED };
  }
}
