import { KNOWN_KEYS } from './known-keys.ts';
import type { SchedulerConfig } from './scheduler.ts';

/**
 * Typed access to a `scheduler_config.json`. Every method throws an Error that names the key, its
 * value and the accepted values. A key that is missing or null has the fallback.
 */
export interface ConfigReader {
  /** A number from `minimum` to `maximum`. */
  number(key: string, fallback: number, minimum: number, maximum: number): number;
  /** An integer from `minimum` to `maximum`. */
  integer(key: string, fallback: number, minimum: number, maximum: number): number;
  boolean(key: string, fallback: boolean): boolean;
  /** One of the `accepted` texts. */
  choice<Choice extends string>(key: string, fallback: Choice, accepted: readonly Choice[]): Choice;
  /** A finite number > 0; null if it is missing. */
  positiveOrNull(key: string): number | null;
  /** A list of numbers in [0, 1]; null if it is missing. */
  fractionsOrNull(key: string): readonly number[] | null;
  /** A list of integers >= 0; empty if it is missing. */
  indices(key: string): readonly number[];
  /** Rejects `true` for an option of diffusers that this scheduler does not have. */
  requireFalse(key: string): void;
}

/** The forward process of a model, on which the schedulers that can sample it depend. */
export type Formulation = 'variance-preserving' | 'flow-matching';

/** Classes of diffusers for models whose process is not the variance-preserving one of DDIM. */
const OTHER_FORMULATIONS = /^(FlowMatch|EDM|CogVideoX|HeliosDPM|ScoreSde|CMStochastic)/;
/** Classes of diffusers for rectified flows. */
const FLOW_MATCHING = /^FlowMatch/;

/**
 * Opens a config as diffusers' `from_config` does: it ignores keys of other classes, private keys
 * (`_class_name`) and keys that `_use_default_values` lists, and gives missing keys the default of
 * the class.
 *
 * @param className diffusers' class that is being created, for messages
 * @param formulation of the models that the class samples
 * @throws Error for a key that no scheduler of diffusers knows, and for a config of models of
 *   another formulation
 */
export function readConfig(
  config: SchedulerConfig,
  className: string,
  formulation: Formulation = 'variance-preserving',
): ConfigReader {
  checkKeys(config);
  checkFormulation(config, className, formulation);
  const defaultKeys = new Set(Array.isArray(config._use_default_values) ? config._use_default_values : []);

  function read(key: string): unknown {
    return defaultKeys.has(key) ? undefined : config[key];
  }

  function fail(key: string, value: unknown, accepted: string): never {
    throw new Error(
      `${key} of the scheduler config is ${typeof value === 'number' ? value : JSON.stringify(value)}; ` +
        `findery's ${className} accepts ${accepted}.`,
    );
  }

  function number(key: string, fallback: number, minimum: number, maximum: number): number {
    const value = read(key) ?? fallback;
    if (typeof value !== 'number' || !(value >= minimum && value <= maximum)) {
      fail(key, value, `a number from ${minimum} to ${maximum}`);
    }
    return value;
  }

  return {
    number,
    integer(key, fallback, minimum, maximum) {
      const value = number(key, fallback, minimum, maximum);
      return Number.isInteger(value) ? value : fail(key, value, `an integer from ${minimum} to ${maximum}`);
    },
    boolean(key, fallback) {
      const value = read(key) ?? fallback;
      return typeof value === 'boolean' ? value : fail(key, value, 'true or false');
    },
    choice(key, fallback, accepted) {
      const value = read(key) ?? fallback;
      return accepted.find((choice) => choice === value) ?? fail(key, value, accepted.join(', '));
    },
    positiveOrNull(key) {
      const value = read(key) ?? null;
      if (value === null) return null;
      return typeof value === 'number' && value > 0 && Number.isFinite(value)
        ? value
        : fail(key, value, 'a number > 0');
    },
    fractionsOrNull(key) {
      const value = read(key) ?? null;
      if (value === null) return null;
      const isFraction = (item: unknown): item is number =>
        typeof item === 'number' && item >= 0 && item <= 1;
      return Array.isArray(value) && value.every(isFraction)
        ? value
        : fail(key, value, 'a list of numbers from 0 to 1');
    },
    indices(key) {
      const value = read(key) ?? [];
      const isIndex = (item: unknown): item is number =>
        typeof item === 'number' && Number.isInteger(item) && item >= 0;
      return Array.isArray(value) && value.every(isIndex)
        ? value
        : fail(key, value, 'a list of integers >= 0');
    },
    requireFalse(key) {
      if (read(key) === true) fail(key, true, 'only false');
    },
  };
}

/** The config with `options` in place of its own, for schedulers such as `euler-karras`. */
export function overrideConfig(config: SchedulerConfig, options: SchedulerConfig): SchedulerConfig {
  const { _use_default_values: defaultKeys } = config;
  // An overridden key must not count as one that is left to the default of the class.
  const remaining = Array.isArray(defaultKeys)
    ? defaultKeys.filter((key) => !Object.hasOwn(options, key))
    : defaultKeys;
  return { ...config, ...options, _use_default_values: remaining };
}

function checkKeys(config: SchedulerConfig): void {
  const unknown = Object.keys(config).filter(
    (key) => !key.startsWith('_') && key !== 'quantization_config' && !KNOWN_KEYS.has(key),
  );
  if (unknown.length === 0) return;
  const isOne = unknown.length === 1;
  throw new Error(
    `The scheduler config has ${isOne ? 'a key' : 'keys'} that no scheduler of diffusers 0.42 knows: ` +
      `${unknown.join(', ')}. Correct or remove ${isOne ? 'it' : 'them'} in scheduler_config.json.`,
  );
}

function checkFormulation(config: SchedulerConfig, className: string, formulation: Formulation): void {
  const origin = config._class_name;
  // Classes for both formulations say in use_flow_sigmas which one the model has.
  if (typeof origin !== 'string' || (formulation === 'flow-matching' && config.use_flow_sigmas === true))
    return;
  if (formulation === 'variance-preserving' && OTHER_FORMULATIONS.test(origin)) {
    throw new Error(
      `The scheduler config was made for ${origin}, whose models ${className} cannot sample; ` +
        'it needs a variance-preserving model such as Stable Diffusion 1.x, 2.x or XL.',
    );
  }
  if (formulation === 'flow-matching' && origin.endsWith('Scheduler') && !FLOW_MATCHING.test(origin)) {
    throw new Error(
      `The scheduler config was made for ${origin}, whose models ${className} cannot sample; ` +
        'it needs a flow-matching model such as Stable Diffusion 3 or Flux.',
    );
  }
}
