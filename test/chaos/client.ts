import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, JobRequest } from '../../src/contract/schemas/job.ts';
import type { Sample } from '../../src/contract/schemas/sample.ts';
import type { WebhookDelivery } from '../../src/contract/schemas/webhook-endpoint.ts';
import type { Chance } from './chance.ts';
import { parseEvents, type StreamedEvent } from './follower.ts';

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
    const answer = (await this.#send(`POST /v1/jobs/${id}/${action}`, {}, [200, 202, 409])) as {
      object?: string;
    };
    return answer.object === 'job';
  }

  /** Has everything told to `url`. */
  async createEndpoint(url: string, secret: string): Promise<void> {
    const headers = { 'content-type': 'application/json' };
    await this.#send('POST /v1/webhook-endpoints', { headers, body: JSON.stringify({ url, secret }) }, [201]);
  }

  listJobs(): Promise<Job[]> {
    return this.#list('/v1/jobs?limit=100');
  }

  listDeliveries(): Promise<WebhookDelivery[]> {
    return this.#list('/v1/webhook-deliveries?limit=100');
  }

  /** The policy file, in Base64. */
  async policy(job: Job): Promise<string> {
    const bytes = await this.#send(`GET /v1/policies/${job.policyId}/parameters`, {}, [200]);
    return Buffer.from(bytes as ArrayBuffer).toString('base64');
  }

  /** The first image of a batch of samples, in Base64. */
  async picture(sampleId: string): Promise<string> {
    const { images } = (await this.#send(`GET /v1/samples/${sampleId}`, {}, [200])) as Sample;
    const bytes = await this.#send(`GET ${images[0]?.url}`, {}, [200]);
    return Buffer.from(bytes as ArrayBuffer).toString('base64');
  }

  async rewards(job: Job): Promise<number[]> {
    const { data } = (await this.#send(`GET ${job.urls.rewards}`, {}, [200])) as {
      data: { reward: number }[];
    };
    return data.map(({ reward }) => reward);
  }

  /** What a job that has ended told, from the beginning or after an event. */
  async events(job: Job, after?: string): Promise<StreamedEvent[]> {
    const headers: Record<string, string> = after === undefined ? {} : { 'last-event-id': after };
    return parseEvents(String(await this.#send(`GET ${job.urls.events}`, { headers }, [200])));
  }

  async #list<T>(path: string): Promise<T[]> {
    const things: T[] = [];
    for (let after = ''; ; ) {
      const page = (await this.#send(`GET ${path}${after && `&after=${after}`}`, {}, [200])) as {
        data: T[];
        nextAfter: string | null;
      };
      things.push(...page.data);
      if (page.nextAfter === null) return things;
      after = page.nextAfter;
    }
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
