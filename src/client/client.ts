import { createParser } from 'eventsource-parser';
import type { Problem } from '../contract/schemas/common.ts';
import type { Job, JobRequest } from '../contract/schemas/job.ts';
import type { Policy } from '../contract/schemas/policy.ts';
import type { Sample } from '../contract/schemas/sample.ts';

/** Asks the service to hold an answer back until the work has ended, for 60 seconds at most. */
const WAIT = { prefer: 'wait=60' };

/** The service answered a request with an error status. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError';
  /** HTTP status, 400 to 599. */
  readonly status: number;
  /** Body of the answer (RFC 9457); null: the answer was not JSON, so it may come from a proxy. */
  readonly problem: Problem | null;

  constructor(request: string, response: Response, problem: Problem | null) {
    super(`${request} was answered with ${response.status}: ${problem?.detail ?? response.statusText}`);
    this.status = response.status;
    this.problem = problem;
  }
}

/** The service accepted a sample batch and could not make its pictures. */
export class SampleFailedError extends Error {
  override readonly name = 'SampleFailedError';
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** The connection ended before the job did. The job itself goes on. */
export class EventStreamClosedError extends Error {
  override readonly name = 'EventStreamClosedError';
}

/**
 * The header that authenticates a request.
 * @param key API key; default: the environment variable FINDERY_KEY
 * @returns no header when there is no key
 */
export function keyHeaders(key: string | undefined = process.env.FINDERY_KEY): Record<string, string> {
  return key ? { authorization: `Bearer ${key}` } : {};
}

/**
 * HTTP client of a findery service. It knows the public API alone, so what the demo, the command
 * line and the benchmarks do with it, every other client can do. Requests carry the key in
 * FINDERY_KEY, if it is set.
 *
 * Every method throws `ServiceError` for an error status, and `TypeError` (from `fetch`) when no
 * service answers.
 */
export class Client {
  readonly url: string;

  /** @param url base URL of the service, such as http://127.0.0.1:8080 */
  constructor(url: string) {
    this.url = url;
  }

  /** Creates an optimization job. It is queued when this returns; `follow` waits for its end. */
  async createJob(request: JobRequest): Promise<Job> {
    return (await this.#send('POST', '/v1/jobs', request)).json() as Promise<Job>;
  }

  async getPolicy(id: string): Promise<Policy> {
    return (await this.#send('GET', `/v1/policies/${id}`)).json() as Promise<Policy>;
  }

  async getSample(id: string): Promise<Sample> {
    return (await this.#send('GET', `/v1/samples/${id}`)).json() as Promise<Sample>;
  }

  /**
   * Requests a sample batch and waits until it has ended.
   * @param path /v1/samples (from the prompt and N(0, I)) or /v1/policies/{id}/samples
   * @param request body of that request
   * @throws SampleFailedError when the batch fails
   */
  async sample(path: string, request: object): Promise<Sample> {
    let sample = (await (await this.#send('POST', path, request, WAIT)).json()) as Sample;
    while (sample.status === 'queued' || sample.status === 'running')
      sample = (await (await this.#send('GET', sample.urls.self, undefined, WAIT)).json()) as Sample;
    if (sample.error) throw new SampleFailedError(sample.error);
    return sample;
  }

  /** The body of a GET request: an image, a figure or policy parameters. */
  async bytes(path: string): Promise<Uint8Array> {
    return new Uint8Array(await (await this.#send('GET', path)).arrayBuffer());
  }

  /**
   * Reads a job's server-sent events until the job has ended, whatever its final status.
   * @param onEvent receives the type and the parsed data of every event, the final `done` included
   * @param signal stops reading; the job itself goes on
   * @returns the job as it ended
   * @throws EventStreamClosedError when the events end before the job does
   */
  async follow(job: Job, onEvent: (type: string, data: unknown) => void, signal?: AbortSignal): Promise<Job> {
    const headers = { accept: 'text/event-stream' };
    const response = await this.#send('GET', job.urls.events, undefined, headers, signal);
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
    if (!final) throw new EventStreamClosedError(`The events of ${job.id} ended before the job did.`);
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
    const problem = (await response.json().catch(() => null)) as Problem | null;
    throw new ServiceError(`${method} ${path}`, response, problem);
  }
}
