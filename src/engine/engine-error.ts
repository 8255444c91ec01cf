/** Something that trying again would not mend: a graph that can't be opened, pictures or rewards that are no numbers. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
}

/** Nobody waits for the result any more. */
export class CanceledError extends Error {
  override readonly name = 'CanceledError';

  constructor() {
    super('Nobody waits for this any more.');
  }
}
