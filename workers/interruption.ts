/** Why a job's work was cut short. None of these is a failure of the job. */
export class Interruption extends Error {
  override readonly name = 'Interruption';
  readonly kind: 'canceled' | 'shutdown' | 'lost' | 'memory';

  constructor(kind: 'canceled' | 'shutdown' | 'lost' | 'memory') {
    super(
      {
        canceled: 'A client canceled the job.',
        shutdown: 'The worker is shutting down.',
        lost: 'Another worker has taken the job over.',
        memory: 'The memory of this process does not suffice; a fresh one goes on.',
      }[kind],
    );
    this.kind = kind;
  }
}
