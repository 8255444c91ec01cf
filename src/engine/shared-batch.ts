import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Conditions, Predict } from './denoiser.ts';
import { DenoisingGroup } from './denoising-group.ts';
import type { DiffusionModel } from './diffusion-model.ts';
import { CanceledError, isOutOfMemory } from './errors.ts';
import type { Evaluation, EvaluationServices } from './evaluation.ts';
import { concatenate } from './families/family.ts';
import type { GenerationSpec } from './generation-spec.ts';

/** An evaluation that shares runs of the denoiser with others. */
interface Member {
  readonly evaluation: Evaluation;
  /** The first so many noises of the evaluation are denoised here. */
  readonly count: number;
  readonly onRest: () => void;
  /** Noises whose denoising has begun; they begin in order. */
  admitted: number;
  /** Noises whose denoising has ended. */
  denoised: number;
  /** Latents of denoised noises that are not pictures yet, in order. */
  ready: Float32Array[];
  conditions: Conditions | null;
}

/** Noises of a member that were admitted at the same step. */
interface Active {
  readonly member: Member;
  readonly group: DenoisingGroup;
}

/** One run of the denoiser: parts of groups, `size` latents with its padding. */
interface Run {
  readonly parts: readonly (Active & { readonly first: number; readonly count: number })[];
  readonly predict: Predict;
}

interface Plan {
  readonly model: DiffusionModel;
  readonly size: number;
  readonly runs: readonly Run[];
}

/** Evaluations with the same key can share runs: graph, shapes and guidance are the same. */
export function sharingKey({ model, latentShape, sampler, promptIds }: GenerationSpec): string {
  const tokens = promptIds.map(({ length }) => length);
  return `${model.path} ${model.signature} ${latentShape} ${tokens} ${sampler.guidanceScale > 1}`;
}

/**
 * Denoises noises of several evaluations in common runs ("continuous batching"). At every step, the
 * places of noises that are done go to waiting ones, one evaluation after the other. Prompt,
 * guidance scale, scheduler and step may differ from row to row.
 *
 * Every run has the same size, so ONNX Runtime uses the same kernels in all of them, and a noise's
 * latent does not depend on the others in the run. Pictures are decoded and scored apart, in the
 * batches that the evaluation alone would have.
 */
export class SharedBatch {
  readonly #services: EvaluationServices;
  /** Members with noises that were not admitted yet; the first one gets the next place. */
  #waiting: Member[] = [];
  #active: Active[] = [];
  #plan: Plan | null = null;

  constructor(services: EvaluationServices) {
    this.#services = services;
  }

  /**
   * Adds an evaluation with the same key as the others.
   * @param count the first so many of its noises share runs, 1 or more
   * @param onRest called when these are done, if the evaluation has more noises
   */
  add(evaluation: Evaluation, count: number, onRest: () => void): void {
    const conditions = null;
    this.#waiting.push({ evaluation, count, onRest, admitted: 0, denoised: 0, ready: [], conditions });
  }

  /**
   * Works until the noises that are denoised now are done.
   * @returns whether nothing is left to do
   */
  async advance(): Promise<boolean> {
    await this.#admit();
    let steps = Math.max(0, ...this.#active.map(({ group }) => group.stepsLeft));
    for (; steps > 0 && this.#active.length > 0; steps--) {
      await this.#step();
      await this.#admit();
    }
    return this.#active.length === 0 && this.#waiting.length === 0;
  }

  /** Gives free places to waiting noises: one place to each member in turn. */
  async #admit(): Promise<void> {
    this.#dropCanceled();
    const [first] = this.#waiting;
    if (!first) return;
    let model: DiffusionModel;
    try {
      ({ model } = await this.#services.open(first.evaluation.spec.model, []));
    } catch (error) {
      this.#fail(this.#waiting, error);
      return;
    }
    const places = this.#limit(first) - this.#active.reduce((sum, { group }) => sum + group.count, 0);
    for (const [member, count] of this.#choose(places, model)) {
      try {
        member.conditions ??= await model.encode(member.evaluation.spec);
        const { spec, noises } = member.evaluation;
        const group = new DenoisingGroup(spec, noises.slice(member.admitted, member.admitted + count));
        member.admitted += count;
        this.#active.push({ member, group });
        this.#plan = null;
      } catch (error) {
        this.#fail([member], error);
      }
    }
    this.#waiting = this.#waiting.filter(({ admitted, count }) => admitted < count);
  }

  /** The members that get places, and how many; these members move to the end of the queue. */
  #choose(places: number, model: DiffusionModel): ReadonlyMap<Member, number> {
    const chosen = new Map<Member, number>();
    const [lead] = this.#waiting;
    // A graph with one timestep for all rows needs rows that stay at the same step.
    const inLockstep = !model.takesTimestepPerRow;
    if (inLockstep && this.#active.length > 0) return chosen;
    const canTake = (member: Member) =>
      (!inLockstep || hasSameTimesteps(member, lead)) &&
      member.admitted + (chosen.get(member) ?? 0) < member.count;
    for (let left = places; left > 0; left--) {
      const member = this.#waiting.find(canTake);
      if (!member) break;
      chosen.set(member, (chosen.get(member) ?? 0) + 1);
      this.#waiting = [...this.#waiting.filter((other) => other !== member), member];
    }
    return chosen;
  }

  /** One step of all active groups. If a run fails, the groups that are left stay at their step. */
  async #step(): Promise<void> {
    this.#dropCanceled();
    const [first] = this.#active;
    if (!first) return;
    const { spec } = first.member.evaluation;
    let members = this.#active.map(({ member }) => member);
    try {
      const { model } = await this.#services.open(spec.model, []);
      for (const { parts, predict } of this.#runs(model)) {
        members = parts.map(({ member }) => member);
        const began = performance.now();
        await predict(
          parts.map(({ group, first, count }) => group.valuesAt(first, count)),
          async () => {
            await nextTurn();
            for (const { evaluation } of members) evaluation.start();
          },
        );
        const milliseconds = (performance.now() - began) / parts.reduce((sum, { count }) => sum + count, 0);
        for (const { member, count } of parts) member.evaluation.addDenoising(milliseconds * count);
      }
    } catch (error) {
      await this.#recover(members, error);
      return;
    }
    for (const { group } of this.#active) group.advance();
    await this.#collect();
  }

  /** The runs of a step: the active groups, cut into parts of at most the batch size. */
  #runs(model: DiffusionModel): readonly Run[] {
    const { spec } = this.#active[0].member.evaluation;
    const size = this.#limit(this.#active[0].member);
    if (this.#plan?.model === model && this.#plan.size === size) return this.#plan.runs;
    const runs: Run[] = [];
    let parts: Run['parts'][number][] = [];
    let room = size;
    const close = () => {
      const rows = parts.map(({ member, count }) => ({
        conditions: member.conditions as Conditions, // Set when the member's first noise was admitted.
        count,
      }));
      if (parts.length > 0) runs.push({ parts, predict: model.prepare(rows, spec, size) });
      [parts, room] = [[], size];
    };
    for (const active of this.#active) {
      for (let first = 0; first < active.group.count; ) {
        const count = Math.min(room, active.group.count - first);
        parts.push({ ...active, first, count });
        [first, room] = [first + count, room - count];
        if (room === 0) close();
      }
    }
    close();
    this.#plan = { model, size, runs };
    return runs;
  }

  /** Makes another try of the step possible, or fails the members of the run that failed. */
  async #recover(members: readonly Member[], error: unknown): Promise<void> {
    this.#plan = null;
    if (!isOutOfMemory(error)) return this.#fail(members, error);
    const [first] = members;
    await this.#services
      .recover(first.evaluation.spec, this.#limit(first), error)
      .catch((reason: unknown) => this.#fail(members, reason));
  }

  /** Finishes the noises of groups that are done. */
  async #collect(): Promise<void> {
    const done = this.#active.filter(({ group }) => group.stepsLeft === 0);
    if (done.length === 0) return;
    this.#active = this.#active.filter(({ group }) => group.stepsLeft > 0);
    this.#plan = null;
    for (const { member, group } of done) {
      const length = group.latents.length / group.count;
      for (let i = 0; i < group.count; i++)
        member.ready.push(group.latents.subarray(i * length, (i + 1) * length));
      member.denoised += group.count;
    }
    for (const member of new Set(done.map(({ member }) => member)))
      await this.#finish(member).catch((error: unknown) => this.#fail([member], error));
  }

  /** Makes pictures of whole batches, and of the rest once all noises are denoised. */
  async #finish(member: Member): Promise<void> {
    const { evaluation, count, ready } = member;
    const isLast = member.denoised === count;
    while (ready.length >= this.#limit(member) || (isLast && ready.length > 0))
      await evaluation.finish(concatenate(ready.splice(0, this.#limit(member))));
    if (isLast && !evaluation.answer()) member.onRest();
  }

  #dropCanceled(): void {
    const members = [...this.#waiting, ...this.#active.map(({ member }) => member)];
    const canceled = members.filter(({ evaluation }) => evaluation.isCanceled);
    if (canceled.length > 0) this.#fail(canceled, new CanceledError());
  }

  #fail(members: readonly Member[], error: unknown): void {
    const failed = new Set(members);
    for (const { evaluation } of failed) evaluation.fail(error);
    this.#waiting = this.#waiting.filter((member) => !failed.has(member));
    this.#active = this.#active.filter(({ member }) => !failed.has(member));
    this.#plan = null;
  }

  #limit({ evaluation }: Member): number {
    return this.#services.batchSizes.limit(evaluation.spec);
  }
}

function hasSameTimesteps({ evaluation: a }: Member, { evaluation: b }: Member): boolean {
  const [one, other] = [a.spec.sampler, b.spec.sampler];
  return one.scheduler === other.scheduler && one.steps === other.steps;
}
