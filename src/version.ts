import manifest from '../package.json' with { type: 'json' };

/** The version of findery. */
export const VERSION: string = manifest.version;
