import { setTimeout as sleep } from 'node:timers/promises';
import type { Chance } from './chance.ts';
import { type Cluster, LOCK_SECONDS } from './cluster.ts';

/** Something that goes wrong. Resolves when it is over, as far as it has to be undone. */
export interface Fault {
  readonly name: string;
  readonly run: (cluster: Cluster, chance: Chance) => Promise<void>;
}

export const FAULTS: readonly Fault[] = [
  { name: 'a worker is killed', run: async ({ workers }, chance) => chance.one(workers).signal('SIGKILL') },
  {
    name: 'both workers are killed',
    run: async ({ workers }) => {
      for (const worker of workers) worker.signal('SIGKILL');
    },
  },
  {
    name: 'a worker is told to end',
    run: async ({ workers }, chance) => chance.one(workers).signal('SIGTERM'),
  },
  { name: 'an API is killed', run: async ({ apis }, chance) => chance.one(apis).signal('SIGKILL') },
  {
    name: 'both APIs are killed',
    run: async ({ apis }) => {
      for (const api of apis) api.signal('SIGKILL');
    },
  },
  { name: 'Redis is killed', run: (cluster) => cluster.killRedis() },
  {
    name: 'everything is killed',
    run: async (cluster) => {
      for (const member of [...cluster.apis, ...cluster.workers]) member.signal('SIGKILL');
      await cluster.killRedis();
    },
  },
  {
    name: 'a worker stands still for longer than its lock',
    run: async ({ workers }, chance) => {
      const worker = chance.one(workers);
      worker.signal('SIGSTOP');
      await sleep(1000 * (LOCK_SECONDS + chance.between(0.5, 3)));
      worker.signal('SIGCONT');
    },
  },
  {
    name: 'the disk is full for a while',
    run: async ({ disk }, chance) => {
      disk.fill();
      await sleep(1000 * chance.between(0.5, 4));
      disk.free();
    },
  },
  {
    name: 'the receiver of webhooks is away for a while',
    run: ({ receiver }, chance) => receiver.leave(1000 * chance.between(1, 6)),
  },
];
