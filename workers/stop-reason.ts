/**
 * Why the work on a job or on samples stops before its end. None of the reasons is a failure of the
 * work. `interruption.ts` notices them and gives the work back.
 */
const MESSAGES = {
  canceled: 'A client canceled the job.',
  paused: 'A client paused the job.',
  expired: 'The deadline of the job has passed.',
  shutdown: 'The worker is shutting down.',
  preempted: 'Other jobs wait, and this one has had its slice of time.',
  lost: 'Another worker has taken the job.',
  storage: 'Storage does not accept what the job writes.',
  device: 'The GPU of this process is lost; a new process or another worker continues the work.',
  memory: 'The memory of this process does not suffice; a new process continues the job.',
} as const;

/** Why work stops before its end, without a failure of the work itself. */
export type InterruptionKind = keyof typeof MESSAGES;

/** Thrown, and used as the reason of abort signals, when work stops before its end. */
export class Interruption extends Error {
  override readonly name = 'Interruption';
  readonly kind: InterruptionKind;

  constructor(kind: InterruptionKind) {
    super(MESSAGES[kind]);
    this.kind = kind;
  }
}
