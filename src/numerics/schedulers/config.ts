import { KNOWN_KEYS } from './known-keys.ts';
import type { SchedulerConfig } from './scheduler.ts';

/** Typed look at a `scheduler_config.json`; every method throws an Error that names key, value and what is accepted. */
export interface ConfigReader {
  number(key: string, fallback: number, minimum: number, maximum: number): number;
  integer(key: string, fallback: number, minimum: number, maximum: number): number;
  boolean(key: string, fallback: boolean): boolean;
  choice<Choice extends string>(key: string, fallback: Choice, accepted: readonly Choice[]): Choice;
  /** A number > 0, or null when it is missing or null. */
  positiveOrNull(key: string): number | null;
  /** A list of numbers in [0, 1], or null when it is missing or null. */
  fractionsOrNull(key: string): readonly number[] | null;
  /** A list of integers >= 0, empty when it is missing or null. */
  indices(key: string): readonly number[];
  /** Throws when the key is there and true: an option of diffusers that this scheduler does not have. */
  refuse(key: string): void;
}

/** How a model's latents go from picture to noise: it decides which schedulers can sample it. */
export type Formulation = 'variance-preserving' | 'flow-matching';

/** Classes whose models are not of the variance-preserving kind that DDIM and DPM-Solver++ integrate here. */
const OTHER_FORMULATIONS = /^(FlowMatch|EDM|CogVideoX|HeliosDPM|ScoreSde|CMStochastic)/;
/** Classes whose models are straight flows. */
const FLOW_MATCHING = /^FlowMatch/;

/**
 * Reads a config in the way of diffusers' `from_config`: keys of other classes, private keys (`_class_name`) and those
 * listed under `_use_default_values` are ignored, missing ones get the default of the class that is made.
 *
 * @param className diffusers' class that is being made, for messages
 * @param formulation of the models that this class samples
 * @throws Error for a key that no scheduler of diffusers knows, and for configs of models of another formulation
 */
export function readConfig(
  config: SchedulerConfig,
  className: string,
  formulation: Formulation = 'variance-preserving',
): ConfigReader {
  const unknown = Object.keys(config).filter(
    (key) => !key.startsWith('_') && key !== 'quantization_config' && !KNOWN_KEYS.has(key),
  );
  if (unknown.length > 0) {
    throw new Error(
      `The scheduler config has ${unknown.length === 1 ? 'a key' : 'keys'} that no scheduler of diffusers 0.42 knows: ` +
        `${unknown.join(', ')}. Correct or remove ${unknown.length === 1 ? 'it' : 'them'} in scheduler_config.json.`,
    );
  }
  checkFormulation(config, className, formulation);
  const defaulted = new Set(Array.isArray(config._use_default_values) ? config._use_default_values : []);

  function read(key: string): unknown {
    return defaulted.has(key) ? undefined : config[key];
  }

  function fail(key: string, value: unknown, accepted: string): never {
    throw new Error(
      `${key} of the scheduler config is ${JSON.stringify(value)}; ${className} here takes ${accepted}.`,
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
    refuse(key) {
      if (read(key) === true) fail(key, true, 'only false');
    },
  };
}

/** The config with these keys set over it, for schedulers that are another one with an option, such as `euler-karras`. */
export function setOver(config: SchedulerConfig, options: SchedulerConfig): SchedulerConfig {
  const { _use_default_values: defaulted } = config;
  // A key that is set must not be taken for one that is left to the class.
  const left = Array.isArray(defaulted) ? defaulted.filter((key) => !Object.hasOwn(options, key)) : defaulted;
  return { ...config, ...options, _use_default_values: left };
}

function checkFormulation(config: SchedulerConfig, className: string, formulation: Formulation): void {
  const madeFor = config._class_name;
  // Classes for either kind of model say with use_flow_sigmas which it is.
  if (typeof madeFor !== 'string' || (formulation === 'flow-matching' && config.use_flow_sigmas === true))
    return;
  if (formulation === 'variance-preserving' && OTHER_FORMULATIONS.test(madeFor)) {
    throw new Error(
      `The scheduler config was made for ${madeFor}, whose models ${className} cannot sample; ` +
        'it needs a variance-preserving model such as Stable Diffusion 1.x, 2.x or XL.',
    );
  }
  if (formulation === 'flow-matching' && madeFor.endsWith('Scheduler') && !FLOW_MATCHING.test(madeFor)) {
    throw new Error(
      `The scheduler config was made for ${madeFor}, whose models ${className} cannot sample; ` +
        'it needs a flow-matching model such as Stable Diffusion 3 or Flux.',
    );
  }
}
