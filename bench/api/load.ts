import autocannon from 'autocannon';

export interface Load {
  readonly method?: 'GET' | 'POST';
  /** Asked for by turns. */
  readonly paths: readonly string[];
  readonly body?: object;
  readonly headers?: { readonly [name: string]: string };
  readonly connections: number;
  readonly seconds: number;
  /** Requests a second at most, evenly; as many as there can be when left out. */
  readonly rate?: number;
}

export interface Loaded {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** Requests that had another answer than 2xx, or none. */
  readonly failed: number;
}

/** autocannon, in a thread of its own so that it does not wait for what else this process does. */
export async function load(url: string, what: Load): Promise<Loaded> {
  const { method = 'GET', body, connections, seconds, rate } = what;
  const headers = { ...what.headers, ...(body ? { 'content-type': 'application/json' } : {}) };
  const text = body && JSON.stringify(body);
  const { requests, latency, non2xx, errors, timeouts } = await autocannon({
    url,
    connections,
    duration: seconds,
    workers: 1,
    ...(rate === undefined ? {} : { overallRate: rate }),
    requests: what.paths.map((path) => ({ method, path, headers, body: text })),
  });
  return {
    perSecond: requests.average,
    p50: latency.p50,
    p99: latency.p99,
    failed: non2xx + errors + timeouts,
  };
}
