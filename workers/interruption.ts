type InterruptionKind = 'canceled' | 'paused' | 'expired' | 'shutdown' | 'lost' | 'memory' | 'storage';

/** Why a job's work was cut short. None of these is a failure of the job. */
export class Interruption extends Error {
  override readonly name = 'Interruption';
  readonly kind: InterruptionKind;

  constructor(kind: InterruptionKind) {
    super(
      {
        canceled: 'A client canceled the job.',
        paused: 'A client paused the job.',
        expired: 'The deadline of the job has passed.',
        shutdown: 'The worker is shutting down.',
        lost: 'Another worker has taken the job over.',
        storage: 'Storage does not take what the job writes.',
        memory: 'The memory of this process does not suffice; a fresh one goes on.',
      }[kind],
    );
    this.kind = kind;
  }
}
