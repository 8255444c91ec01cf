import autocannon from 'autocannon';

/** A load for a server. */
export interface Load {
  readonly method?: 'GET' | 'POST';
  /** Paths that are requested in turn. */
  readonly paths: readonly string[];
  readonly body?: object;
  readonly headers?: { readonly [name: string]: string };
  readonly connections: number;
  readonly seconds: number;
  /** Requests a second, evenly spread. Default: as many as the server answers. */
  readonly rate?: number;
}

/** Result of a load. Latencies are milliseconds. */
export interface LoadResult {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** Requests without an answer, or with a status other than 2xx. */
  readonly failed: number;
}

/** Loads a server with autocannon, in a worker thread, so that this process does not delay it. */
export async function load(url: string, settings: Load): Promise<LoadResult> {
  const { method = 'GET', body, connections, seconds, rate } = settings;
  const headers = { ...settings.headers, ...(body ? { 'content-type': 'application/json' } : {}) };
  const text = body && JSON.stringify(body);
  const { requests, latency, non2xx, errors, timeouts } = await autocannon({
    url,
    connections,
    duration: seconds,
    workers: 1,
    ...(rate === undefined ? {} : { overallRate: rate }),
    requests: settings.paths.map((path) => ({ method, path, headers, body: text })),
  });
  return {
    perSecond: requests.average,
    p50: latency.p50,
    p99: latency.p99,
    failed: non2xx + errors + timeouts,
  };
}
