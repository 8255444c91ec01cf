import { describe, expect, it } from 'vitest';
import { SimulatedClock } from '../../bench/simulate/clock.ts';
import { readOptions } from '../../bench/simulate/options.ts';
import { costRows, fairnessRows } from '../../bench/simulate/report.ts';
import { makeWorkload } from '../../bench/simulate/workload.ts';

const DEFAULTS = readOptions([]);
const options = DEFAULTS === 'help' ? null : DEFAULTS;

/** Windows whose cost grows from 1,000 to 100,000 jobs, on a machine that becomes slower. */
function windows(growth: number) {
  return Array.from({ length: 20 }, (_, i) => {
    const slowness = 1 + i / 10;
    const cost = 500 * (1 + (growth * i) / 19);
    const usage = { commands: cost, redis: cost * slowness, process: cost * slowness, wall: 0 };
    const reference = { commands: 500, redis: 500 * slowness, process: 500 * slowness, wall: 0 };
    return { queued: 1000 + (99_000 * i) / 19, usage, reference };
  });
}

describe('the report of a simulation', () => {
  it('accepts a cost that stays, though the machine becomes slower', () => {
    expect(costRows('work', windows(0)).map(({ met }) => met)).toEqual([true, true, true]);
  });

  it('refuses a cost that grows with the queue', () => {
    const rows = costRows('work', windows(0.3));
    expect(rows.map(({ met }) => met)).toEqual([false, false, false]);
    expect(rows[0].what).toContain('1000 to 100000 queued jobs');
  });

  it('refuses a tenant with one job that waits behind long queues', () => {
    if (!options) throw new Error('options');
    const large = (at: number) => ({
      job: { number: 0, tenant: 'large-0', arrivesAt: 0, secondsPerImage: 1 },
      at,
    });
    const small = (arrivesAt: number, at: number) => ({
      job: { number: 1, tenant: 'small-1', arrivesAt, secondsPerImage: 1 },
      at,
    });
    const others = Array.from({ length: 2000 }, (_, i) => large(i));
    const withSmall = (at: number) => [...others.slice(0, at), small(99.5, at), ...others.slice(at)];
    expect(fairnessRows(withSmall(150), options)[0]).toMatchObject({ value: '50', met: true });
    expect(fairnessRows(withSmall(1500), options)[0]).toMatchObject({ value: '1400', met: false });
  });
});

describe('the workload of a simulation', () => {
  const make = (seed: number) => makeWorkload({ jobs: 300, tenants: 20, seed, expectedSeconds: 1000 });

  it('follows from its seed', () => {
    expect(make(1)).toEqual(make(1));
    expect(make(2)).not.toEqual(make(1));
  });

  it('has one job of each small tenant', () => {
    const { backlog, arrivals } = make(1);
    expect(backlog.length + arrivals.length).toBe(300);
    expect(new Set(arrivals.map(({ tenant }) => tenant)).size).toBe(18);
  });
});

describe('the clock of a simulation', () => {
  it('wakes sleepers in order, and stands still meanwhile', async () => {
    const clock = new SimulatedClock(2);
    const woken: number[] = [];
    const sleep = (seconds: number) => clock.sleep(seconds).then(() => woken.push(seconds));
    const all = [sleep(9), sleep(3), sleep(4)];
    await clock.waitFor(() => 3, 1000);
    clock.advance();
    await Promise.all(all.slice(1));
    expect([clock.now, woken]).toEqual([4, [3, 4]]);
    clock.advance(5);
    expect(clock.now).toBe(5);
    clock.advance();
    await all[0];
    expect(clock.now).toBe(10);
  });

  it('says when workers do not go on', async () => {
    await expect(new SimulatedClock(2).waitFor(() => 1, 20)).rejects.toThrow('0 of 1 workers');
  });
});
