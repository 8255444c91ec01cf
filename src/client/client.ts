import { createParser } from 'eventsource-parser';
import type { Job, JobRequest } from '../contract/schemas/job.ts';
import type { Policy } from '../contract/schemas/policy.ts';
import type { Sample } from '../contract/schemas/sample.ts';

/** What a request to a service is sent with, where that asks for a key: FINDERY_KEY. */
export function keyHeaders(key: string | undefined = process.env.FINDERY_KEY): Record<string, string> {
  return key ? { authorization: `Bearer ${key}` } : {};
}

/** A findery service over HTTP, like any client's view of it. */
export class Client {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  async createJob(request: JobRequest): Promise<Job> {
    return (await this.#send('POST', '/v1/jobs', request)).json() as Promise<Job>;
  }

  async getPolicy(id: string): Promise<Policy> {
    return (await this.#send('GET', `/v1/policies/${id}`)).json() as Promise<Policy>;
  }

  async getSample(id: string): Promise<Sample> {
    return (await this.#send('GET', `/v1/samples/${id}`)).json() as Promise<Sample>;
  }

  /** Draws samples and waits for them. `path` is /v1/samples or /v1/policies/{id}/samples. */
  async sample(path: string, request: object): Promise<Sample> {
    let sample = (await (await this.#send('POST', path, request, { prefer: 'wait=60' })).json()) as Sample;
    while (sample.status === 'queued' || sample.status === 'running') {
      sample = (await (
        await this.#send('GET', sample.urls.self, undefined, { prefer: 'wait=60' })
      ).json()) as Sample;
    }
    if (sample.error) throw new Error(sample.error.detail);
    return sample;
  }

  async bytes(path: string): Promise<Uint8Array> {
    return new Uint8Array(await (await this.#send('GET', path)).arrayBuffer());
  }

  /** Follows a job to its end; returns the final job. */
  async follow(job: Job, onEvent: (type: string, data: unknown) => void, signal?: AbortSignal): Promise<Job> {
    const response = await this.#send(
      'GET',
      job.urls.events,
      undefined,
      { accept: 'text/event-stream' },
      signal,
    );
    let final: Job | undefined;
    const parser = createParser({
      onEvent({ event, data }) {
        const value: unknown = JSON.parse(data);
        if (event === 'done') final = value as Job;
        onEvent(event ?? 'message', value);
      },
    });
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) parser.feed(decoder.decode(chunk, { stream: true }));
    if (!final) throw new Error(`The events of ${job.id} ended before the job did.`);
    return final;
  }

  async #send(
    method: string,
    path: string,
    body?: object,
    headers: Record<string, string> = {},
    signal?: AbortSignal,
  ): Promise<Response> {
    const response = await fetch(new URL(path, this.url), {
      method,
      headers: { ...keyHeaders(), ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
      body: body && JSON.stringify(body),
      signal,
    });
    if (response.ok) return response;
    const problem = (await response.json().catch(() => null)) as { detail?: string } | null;
    throw new Error(
      `${method} ${path} was answered with ${response.status}: ${problem?.detail ?? response.statusText}`,
    );
  }
}
