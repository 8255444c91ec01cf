import { setTimeout as sleep } from 'node:timers/promises';
import type { SeededRandom } from '../support/seeded-random.ts';
import { type Cluster, LEASE_SECONDS } from './cluster.ts';

/** A fault. `run` resolves when the fault has been undone, or at once if supervisors undo it. */
export interface Fault {
  readonly name: string;
  readonly run: (cluster: Cluster, random: SeededRandom) => Promise<void>;
}

/** All kinds of faults. The order matters: seeds select from it. */
export const FAULTS: readonly Fault[] = [
  { name: 'a worker is killed', run: async ({ workers }, random) => random.pick(workers).signal('SIGKILL') },
  {
    name: 'both workers are killed',
    run: async ({ workers }) => {
      for (const worker of workers) worker.signal('SIGKILL');
    },
  },
  {
    name: 'a worker is terminated',
    run: async ({ workers }, random) => random.pick(workers).signal('SIGTERM'),
  },
  { name: 'an API is killed', run: async ({ apis }, random) => random.pick(apis).signal('SIGKILL') },
  {
    name: 'both APIs are killed',
    run: async ({ apis }) => {
      for (const api of apis) api.signal('SIGKILL');
    },
  },
  { name: 'the primary Redis is killed and restarted', run: ({ redis }) => redis.killPrimary() },
  {
    name: 'everything is killed',
    run: async ({ apis, workers, redis }) => {
      for (const each of [...apis, ...workers]) each.signal('SIGKILL');
      redis.killAll();
    },
  },
  {
    name: 'a worker is stopped for longer than its lease',
    run: async ({ workers }, random) => {
      const worker = random.pick(workers);
      worker.signal('SIGSTOP');
      await sleep(1000 * (LEASE_SECONDS + random.between(0.5, 3)));
      worker.signal('SIGCONT');
    },
  },
  {
    name: 'the disk is full for some time',
    run: async ({ disk }, random) => {
      disk.fill();
      await sleep(1000 * random.between(0.5, 4));
      disk.free();
    },
  },
  {
    name: 'the receiver of webhooks is offline for some time',
    run: ({ receiver }, random) => receiver.goOffline(1000 * random.between(1, 6)),
  },
  {
    name: 'the primary Redis dies, and Sentinel fails over',
    run: async ({ redis }) => void (await redis.failOver('SIGKILL')),
  },
  {
    name: 'the primary Redis is silent, Sentinel fails over, and it comes back',
    run: async ({ redis }) => void (await redis.failOver('SIGSTOP')),
  },
  {
    name: 'Redis is full for some time',
    run: ({ redis }, random) => redis.fill(1000 * random.between(1, 6)),
  },
  { name: 'a backup begins', run: ({ backups }) => backups.begin() },
];
