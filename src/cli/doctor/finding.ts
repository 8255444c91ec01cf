/** One line of `findery doctor`. */
export interface Finding {
  /** What was looked at, such as `redis`. */
  readonly check: string;
  /** `problem`: the service does not work, or loses what it accepted. `warning`: it works worse. */
  readonly status: 'ok' | 'warning' | 'problem';
  /** What was found; for a warning or a problem also what to do. */
  readonly message: string;
}

/** A finding without the name of its check. */
export type Result = Omit<Finding, 'check'>;

export function ok(message: string): Result {
  return { status: 'ok', message };
}

export function warning(message: string): Result {
  return { status: 'warning', message };
}

export function problem(message: string): Result {
  return { status: 'problem', message };
}
