import type { Answer, Exchange } from './wire.ts';

/** Something that must not be, and how to see it again. */
export interface Failure {
  readonly attack: string;
  readonly what: string;
  readonly reproduction: string;
}

/** What came of all requests. */
export class Tally {
  readonly failures: Failure[] = [];
  /** Answers by status class, `4xx`; `closed` for connections that ended without one. */
  readonly statuses = new Map<string, number>();
  /** How often each invariant was looked at. */
  readonly checks = new Map<string, number>();
  slowest = 0;

  count(status: number | 'closed'): void {
    const name = status === 'closed' ? status : `${Math.floor(status / 100)}xx`;
    this.statuses.set(name, (this.statuses.get(name) ?? 0) + 1);
  }

  /** Counts one look at an invariant; where it does not hold, that is a failure. */
  check(holds: boolean, invariant: string, attack: string, what: string, reproduction = ''): boolean {
    this.checks.set(invariant, (this.checks.get(invariant) ?? 0) + 1);
    if (!holds) this.failures.push({ attack, what: `${invariant}: ${what}`, reproduction });
    return holds;
  }

  /**
   * Holds an exchange against what is always so: an end in time, no 5xx, whole answers, and problems that are problems.
   * @param statuses what the first answer may be; left out, anything but a 5xx
   */
  judge(attack: string, exchange: Exchange, statuses?: readonly number[]): void {
    const { answers, sent, end, milliseconds } = exchange;
    const see = show(sent);
    this.slowest = Math.max(this.slowest, milliseconds);
    if (answers.length === 0) this.count('closed');
    const says = answers.map(({ status, body }) => `${status} ${body.slice(0, 200)}`).join(' / ') || end;
    this.check(
      end !== 'timeout',
      'every request is answered, or its connection closed',
      attack,
      `nothing after ${milliseconds.toFixed(0)} ms`,
      see,
    );
    this.check(end !== 'refused', 'connections are taken', attack, 'refused', see);
    this.check(end !== 'garbage', 'answers are HTTP', attack, says, see);
    if (statuses)
      this.check(
        statuses.includes(answers[0]?.status ?? 0),
        'the status is the right one',
        attack,
        `${says}, not ${statuses.join(', ')}`,
        see,
      );
    for (const answer of answers) this.#judgeAnswer(attack, answer, see);
  }

  #judgeAnswer(attack: string, { status, headers, body }: Answer, see: string): void {
    this.count(status);
    const says = `${status} ${body.slice(0, 300)}`;
    this.check(status < 500, 'no 5xx', attack, says, see);
    this.check(
      !/\n\s+at |node_modules|node:internal|\.ts:\d/.test(body),
      'no stack traces',
      attack,
      says,
      see,
    );
    if (status < 400 || headers.get('no-body')) return;
    const type = headers.get('content-type') ?? 'none';
    this.check(
      type === 'application/problem+json',
      'errors are application/problem+json',
      attack,
      `${type}: ${says}`,
      see,
    );
    let problem: { status?: unknown; detail?: unknown; code?: unknown } = {};
    try {
      problem = JSON.parse(body);
    } catch {
      // Told by the next check.
    }
    const isWhole =
      problem.status === status && typeof problem.detail === 'string' && typeof problem.code === 'string';
    this.check(isWhole, 'problems are whole', attack, says, see);
  }
}

/** A request as `printf '...' | nc` takes it, cut where it is long. */
export function show(sent: Buffer): string {
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
  return `printf '${safe.join('').replace(key, 'KEY')}'${sent.length > 400 ? `  # and ${sent.length - 400} bytes more` : ''}`;
}
