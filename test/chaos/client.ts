import { setTimeout as sleep } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import type { Job, JobRequest } from '../../src/jobs/schemas/job.ts';
import type { Chance } from './chance.ts';

/** Milliseconds that one request may take. */
const PATIENCE = 20_000;

/**
 * A client that does what a careful one does: asks another API, again and again, while there is no answer or a 5xx. Anything else
 * that is not expected is an error.
 */
export class StubbornClient {
  readonly #urls: readonly string[];
  readonly #chance: Chance;
  readonly #stop: AbortSignal;

  constructor(urls: readonly string[], chance: Chance, stop: AbortSignal) {
    this.#urls = urls;
    this.#chance = chance;
    this.#stop = stop;
  }

  /** Queues a job under its own key, or its own id, and goes on until it is accepted. Returns its id. */
  async createJob(number: number, request: JobRequest): Promise<string> {
    const path = number % 3 === 0 ? `PUT /v1/jobs/job_${String(number).padStart(26, '0')}` : 'POST /v1/jobs';
    const headers = { 'content-type': 'application/json', 'idempotency-key': `chaos-${number}` };
    const job = (await this.#send(path, { headers, body: JSON.stringify(request) }, [202])) as Job;
    return job.id;
  }

  getJob(id: string): Promise<Job> {
    return this.#send(`GET /v1/jobs/${id}`, {}, [200]) as Promise<Job>;
  }

  /** Pauses or resumes it; false when it has ended. */
  async act(id: string, action: 'pause' | 'resume'): Promise<boolean> {
    const answer = (await this.#send(`POST /v1/jobs/${id}/${action}`, {}, [200, 202, 409])) as { object?: string };
    return answer.object === 'job';
  }

  async listJobs(): Promise<Job[]> {
    const jobs: Job[] = [];
    for (let after = ''; ; ) {
      const query = `limit=100${after && `&after=${after}`}`;
      const page = (await this.#send(`GET /v1/jobs?${query}`, {}, [200])) as { data: Job[]; nextAfter: string | null };
      jobs.push(...page.data);
      if (page.nextAfter === null) return jobs;
      after = page.nextAfter;
    }
  }

  /** The policy file, in Base64. */
  async policy(job: Job): Promise<string> {
    const bytes = await this.#send(`GET /v1/policies/${job.policyId}/parameters`, {}, [200]);
    return Buffer.from(bytes as ArrayBuffer).toString('base64');
  }

  async rewards(job: Job): Promise<number[]> {
    const { data } = (await this.#send(`GET ${job.urls.rewards}`, {}, [200])) as { data: { reward: number }[] };
    return data.map(({ reward }) => reward);
  }

  /** What a job that has ended told, from the beginning: `iteration 3`, `status running`, `done succeeded`. */
  async events(job: Job): Promise<string[]> {
    const text = (await this.#send(`GET ${job.urls.events}`, {}, [200])) as string;
    const told: string[] = [];
    const parser = createParser({
      onEvent({ event, data }) {
        const { iteration, status } = JSON.parse(data) as { iteration?: number; status?: string };
        told.push(`${event} ${iteration ?? status}`);
      },
    });
    parser.feed(text);
    return told;
  }

  async #send(call: string, init: RequestInit, expected: readonly number[]): Promise<unknown> {
    const [method, path] = call.split(' ');
    for (;;) {
      this.#stop.throwIfAborted();
      const url = this.#chance.one(this.#urls) + path;
      try {
        const response = await fetch(url, { ...init, method, signal: AbortSignal.timeout(PATIENCE) });
        const type = response.headers.get('content-type') ?? '';
        const body: unknown = await (type.includes('json')
          ? response.json()
          : type.startsWith('text/')
            ? response.text()
            : response.arrayBuffer());
        if (expected.includes(response.status)) return body;
        if (response.status < 500) throw new Refusal(`${call}: ${response.status} ${JSON.stringify(body)}`);
      } catch (error) {
        if (error instanceof Refusal) throw error;
      }
      await sleep(200);
    }
  }
}

/** An answer that no fault explains. */
class Refusal extends Error {}
