import type { Exchange, RawResponse } from './raw-http-client.ts';

/** A violated invariant, and how to reproduce it. */
export interface Failure {
  readonly attack: string;
  readonly problem: string;
  /** Shell command that sends the request; empty: there is no single request. */
  readonly reproduction: string;
}

/** Results of all requests. */
export class Findings {
  readonly failures: Failure[] = [];
  /**
   * Number of responses by status class, such as `4xx`; `closed`: connections without a response.
   */
  readonly statuses = new Map<string, number>();
  /** Number of checks by invariant. */
  readonly checks = new Map<string, number>();
  /** Time of the slowest response. */
  slowestMs = 0;

  /** Counts a response. */
  count(status: number | 'closed'): void {
    const name = status === 'closed' ? status : `${Math.floor(status / 100)}xx`;
    this.statuses.set(name, (this.statuses.get(name) ?? 0) + 1);
  }

  /**
   * Checks an invariant and records a failure if it does not hold.
   * @param invariant what has to hold, as a sentence
   * @param attack name of the request or attack
   * @param problem what was observed instead
   * @param reproduction shell command that sends the request
   */
  check(holds: boolean, invariant: string, attack: string, problem: string, reproduction = ''): boolean {
    this.checks.set(invariant, (this.checks.get(invariant) ?? 0) + 1);
    if (!holds) this.failures.push({ attack, problem: `${invariant}: ${problem}`, reproduction });
    return holds;
  }

  /**
   * Checks the invariants of every exchange: it ends in time, has no 5xx, and errors are complete
   * RFC 9457 problems.
   * @param statuses statuses that are allowed for the first response; default: all below 500
   */
  checkExchange(attack: string, exchange: Exchange, statuses?: readonly number[]): void {
    const { responses, sent, end, milliseconds } = exchange;
    const command = toShellCommand(sent);
    this.slowestMs = Math.max(this.slowestMs, milliseconds);
    if (responses.length === 0) this.count('closed');
    const text = responses.map(({ status, body }) => `${status} ${body.slice(0, 200)}`).join(' / ') || end;
    this.check(
      end !== 'timeout',
      'every request is answered, or its connection is closed',
      attack,
      `no response after ${milliseconds.toFixed(0)} ms`,
      command,
    );
    this.check(end !== 'refused', 'connections are accepted', attack, 'refused', command);
    this.check(end !== 'garbage', 'responses are HTTP', attack, text, command);
    if (statuses)
      this.check(
        statuses.includes(responses[0]?.status ?? 0),
        'the status is an allowed one',
        attack,
        `${text}, not ${statuses.join(', ')}`,
        command,
      );
    for (const response of responses) this.#checkResponse(attack, response, command);
  }

  #checkResponse(attack: string, { status, headers, body }: RawResponse, command: string): void {
    this.count(status);
    const text = `${status} ${body.slice(0, 300)}`;
    this.check(status < 500, 'no 5xx', attack, text, command);
    this.check(
      !/\n\s+at |node_modules|node:internal|\.ts:\d/.test(body),
      'no stack traces',
      attack,
      text,
      command,
    );
    if (status < 400 || headers.get('no-body')) return;
    const type = headers.get('content-type') ?? 'none';
    this.check(
      type === 'application/problem+json',
      'errors are application/problem+json',
      attack,
      `${type}: ${text}`,
      command,
    );
    let problem: { status?: unknown; detail?: unknown; code?: unknown } = {};
    try {
      problem = JSON.parse(body);
    } catch {
      // The next check reports it.
    }
    const isComplete =
      problem.status === status && typeof problem.detail === 'string' && typeof problem.code === 'string';
    this.check(isComplete, 'problems are complete', attack, text, command);
  }
}

/**
 * A shell command that prints the request, for `| nc HOST PORT`. Long requests are cut; keys are
 * replaced.
 */
export function toShellCommand(sent: Buffer): string {
  const text = sent.subarray(0, 400).toString('latin1');
  const safe = [...text].map((character) => {
    const code = character.charCodeAt(0);
    if (character === '\r') return '\\r';
    if (character === '\n') return '\\n';
    if (character === '\\' || character === "'" || character === '%' || code < 32 || code > 126)
      return `\\${code.toString(8).padStart(3, '0')}`;
    return character;
  });
  const key = /fdy_[A-Za-z0-9_-]{43}/g;
  const cut = sent.length > 400 ? `  # and ${sent.length - 400} more bytes` : '';
  return `printf '${safe.join('').replace(key, 'KEY')}'${cut}`;
}
