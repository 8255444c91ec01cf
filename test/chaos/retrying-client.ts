import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, JobRequest } from '../../src/contract/schemas/job.ts';
import type { Sample } from '../../src/contract/schemas/sample.ts';
import type { WebhookDelivery } from '../../src/contract/schemas/webhook-endpoint.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { parseEvents, type StreamedEvent } from './event-follower.ts';

const REQUEST_TIMEOUT_MS = 20_000;

/**
 * A careful client: it repeats a request, at a random API, while there is no answer or a 5xx.
 * Every method throws `UnexpectedAnswerError` for any other answer that no fault explains.
 */
export class RetryingClient {
  readonly #urls: readonly string[];
  readonly #random: SeededRandom;
  readonly #stop: AbortSignal;

  constructor(urls: readonly string[], random: SeededRandom, stop: AbortSignal) {
    this.#urls = urls;
    this.#random = random;
    this.#stop = stop;
  }

  /**
   * Creates a job with an idempotency key, every third one with a client-chosen id, until it is
   * accepted.
   * @param number number of the job; the same number gives the same job
   * @returns id of the job
   */
  async createJob(number: number, request: JobRequest): Promise<string> {
    const path = number % 3 === 0 ? `PUT /v1/jobs/job_${String(number).padStart(26, '0')}` : 'POST /v1/jobs';
    const headers = { 'content-type': 'application/json', 'idempotency-key': `chaos-${number}` };
    const job = (await this.#send(path, { headers, body: JSON.stringify(request) }, [202])) as Job;
    return job.id;
  }

  getJob(id: string): Promise<Job> {
    return this.#send(`GET /v1/jobs/${id}`, {}, [200]) as Promise<Job>;
  }

  /** Pauses or resumes a job. False: it has ended. */
  async act(id: string, action: 'pause' | 'resume'): Promise<boolean> {
    const answer = (await this.#send(`POST /v1/jobs/${id}/${action}`, {}, [200, 202, 409])) as {
      object?: string;
    };
    return answer.object === 'job';
  }

  /** Creates a webhook endpoint for all events. */
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

  /** The policy file of a job in Base64. */
  async policy(job: Job): Promise<string> {
    const bytes = await this.#send(`GET /v1/policies/${job.policyId}/parameters`, {}, [200]);
    return Buffer.from(bytes as ArrayBuffer).toString('base64');
  }

  /** The first image of a sample batch in Base64. */
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

  /** The events of a job that has ended: all of them, or those after an event id. */
  async events(job: Job, after?: string): Promise<StreamedEvent[]> {
    const headers: Record<string, string> = after === undefined ? {} : { 'last-event-id': after };
    return parseEvents(String(await this.#send(`GET ${job.urls.events}`, { headers }, [200])));
  }

  async #list<T>(path: string): Promise<T[]> {
    const items: T[] = [];
    for (let after = ''; ; ) {
      const page = (await this.#send(`GET ${path}${after && `&after=${after}`}`, {}, [200])) as {
        data: T[];
        nextAfter: string | null;
      };
      items.push(...page.data);
      if (page.nextAfter === null) return items;
      after = page.nextAfter;
    }
  }

  async #send(call: string, init: RequestInit, expected: readonly number[]): Promise<unknown> {
    const [method, path] = call.split(' ');
    for (;;) {
      this.#stop.throwIfAborted();
      const url = this.#random.pick(this.#urls) + path;
      try {
        const response = await fetch(url, {
          ...init,
          method,
          signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
        });
        const type = response.headers.get('content-type') ?? '';
        const body: unknown = await (type.includes('json')
          ? response.json()
          : type.startsWith('text/')
            ? response.text()
            : response.arrayBuffer());
        if (expected.includes(response.status)) return body;
        if (response.status < 500)
          throw new UnexpectedAnswerError(`${call}: ${response.status} ${JSON.stringify(body)}`);
      } catch (error) {
        if (error instanceof UnexpectedAnswerError) throw error;
      }
      await sleep(200);
    }
  }
}

/** A request was refused although it is valid. */
class UnexpectedAnswerError extends Error {}
