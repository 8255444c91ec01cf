import { describe, expect, it } from 'vitest';
import { IterationMeans } from '../../src/api/jobs/iteration-means.ts';
import {
  rewardsAsCsv,
  rewardsAsJson,
  rewardsAsSvg,
  type SearchedJob,
} from '../../src/api/jobs/reward-history.ts';
import { gaussianSmooth, mean } from '../../src/numerics/statistics.ts';
import type { StoredReward } from '../../src/records/record-change.ts';

const PAGE = 1000;

/** A search of as many images, two in each iteration, whose rewards are read in pages. */
function search(images: number, names: string[] = []) {
  const rewards: StoredReward[] = Array.from({ length: images }, (_, i) => ({
    iteration: 1 + Math.floor(i / 2),
    reward: Math.sin(i),
    terms: names.map((_, term) => i + term),
  }));
  const limits: (number | undefined)[] = [];
  const reward = names.length > 0 ? names.map((name) => ({ name, weight: 1 })) : 'sharpness';
  const job: SearchedJob = {
    job: { id: 'job_x', prompt: 'a dog', reward },
    sigma: 3,
    async *read(limit) {
      limits.push(limit);
      for (let start = 0; start < images; start += PAGE) yield rewards.slice(start, start + PAGE);
    },
  };
  return { rewards, limits, job };
}

describe('the rewards of a large search', () => {
  const { job, rewards, limits } = search(100_000);
  const means = Array.from({ length: 50_000 }, (_, i) =>
    mean(rewards.slice(2 * i, 2 * i + 2).map(({ reward }) => reward)),
  );
  const smoothed = gaussianSmooth(means, 3);

  it('are JSON in pieces of a page each', async () => {
    const pieces = await Array.fromAsync(rewardsAsJson(job));
    expect(pieces.length).toBeGreaterThan(100);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(150_000);
    const { data, iterations, ...others } = JSON.parse(pieces.join(''));
    expect(others).toEqual({ jobId: 'job_x', sigma: 3 });
    expect(data).toEqual(rewards.map(({ iteration, reward }, i) => ({ image: i + 1, iteration, reward })));
    expect(iterations).toEqual(means.map((mean, i) => ({ iteration: i + 1, mean, smoothed: smoothed[i] })));
  });

  it('are a table in pieces of a page each, which ends where the means ended', async () => {
    limits.length = 0;
    const pieces = await Array.fromAsync(rewardsAsCsv(job));
    expect(limits).toEqual([undefined, 100_000]);
    expect(pieces.length).toBeGreaterThan(100);
    const lines = pieces.join('').trimEnd().split('\n');
    expect(lines).toHaveLength(100_001);
    expect(lines[70_002]).toBe(`70002,35001,${Math.sin(70_001)},${smoothed[35_000]}`);
  });

  it('are a curve of a few thousand points', async () => {
    expect((await rewardsAsSvg(job)).length).toBeLessThan(100_000);
  });

  it('are smoothed in steps between which other work has its turn', async () => {
    const found = new IterationMeans();
    for await (const page of job.read()) found.add(page);
    let turns = 0;
    const count = setInterval(() => turns++, 0);
    expect(await found.smoothed(100)).toEqual(gaussianSmooth(means, 100));
    clearInterval(count);
    expect(turns).toBeGreaterThan(5);
  });
});

describe('the rewards of a small search', () => {
  it.each([0, 1, 3])('of %i images with terms are JSON and a table', async (images) => {
    const { job } = search(images, ['sharp', 'red']);
    const { data, iterations } = JSON.parse((await Array.fromAsync(rewardsAsJson(job))).join(''));
    expect(data).toHaveLength(images);
    expect(iterations).toHaveLength(Math.ceil(images / 2));
    if (images === 3) expect(data[2].terms).toEqual({ sharp: 2, red: 3 });
    const lines = (await Array.fromAsync(rewardsAsCsv(job))).join('').trimEnd().split('\n');
    expect(lines[0]).toBe('image,iteration,reward,smoothed,terms.sharp,terms.red');
    expect(lines).toHaveLength(images + 1);
    if (images === 3) expect(lines[3]).toMatch(/^3,2,0\.909\d*,[-\d.]+,2,3$/);
  });
});
