import type { ErrorObject } from 'ajv';
import type { FastifySchemaValidationError } from 'fastify';
import { numberSource } from './number-source.ts';

/** An error of the validator, with the value and the schema that `verbose` adds. */
type ValidationError = FastifySchemaValidationError & Pick<ErrorObject, 'data' | 'parentSchema'>;

/** One entry of a problem's `errors`. */
export interface DescribedError {
  /** JSON pointer to the value. */
  readonly pointer: string;
  /**
   * The value that was there and what is accepted: the end of a sentence that begins with the
   * pointer.
   */
  readonly message: string;
}

const MAX_EXCERPT = 80;
const MAX_EXCERPT_ENTRIES = 40;
const MAX_EXCERPT_DEPTH = 20;

/**
 * Puts a validation error into words. The value is quoted unless the schema says that it may be
 * secret.
 * @param text the JSON that the value was read from, which spells numbers exactly
 */
export function describeValidation(error: ValidationError, text?: string): DescribedError {
  const { instancePath, keyword, params, data, parentSchema, message } = error;
  const schema = parentSchema ?? {};
  const accepts: unknown = schema['x-accepts'];
  const exact = typeof data === 'number' && text ? numberSource(text, instancePath) : null;
  const value = schema['x-secret'] ? 'not what is accepted' : shorten(exact ?? quote(data));
  const here = (text: string): DescribedError => ({ pointer: instancePath, message: text });
  switch (keyword) {
    case 'required':
      return { pointer: `${instancePath}/${params.missingProperty}`, message: 'is missing' };
    case 'additionalProperties': {
      const known = Object.keys((schema.properties as object | undefined) ?? {});
      const name = String(params.additionalProperty).replaceAll('~', '~0').replaceAll('/', '~1');
      return {
        pointer: `${instancePath}/${name}`,
        message: accepts
          ? `is not accepted; takes ${accepts}`
          : `is not known here; known are: ${known.join(', ') || 'no fields'}`,
      };
    }
    case 'enum':
      return here(`is ${value}; takes ${(params.allowedValues as unknown[]).join(', ')}`);
    case 'pattern':
      return here(`is ${value}; takes ${accepts ?? `text like ${params.pattern}`}`);
    case 'type': {
      const plain = `a value of type ${[params.type].flat().join(' or ')}`;
      if (Array.isArray(params.type)) return here(`is ${value}; takes ${accepts ?? plain}`);
      return here(`is ${value}; takes ${accepts && params.type === 'string' ? `text: ${accepts}` : plain}`);
    }
    case 'maxProperties':
      return here(`has ${Object.keys(data as object).length} entries; takes ${accepts}`);
    case 'minItems':
    case 'maxItems': {
      const range = `${schema.minItems ?? 0} to ${schema.maxItems ?? 'any number'}`;
      return here(`has ${(data as unknown[]).length} entries; takes ${accepts ?? range}`);
    }
    case 'minLength':
    case 'maxLength': {
      const range = `${schema.minLength ?? 0} to ${schema.maxLength} characters`;
      return here(`is ${value} (${String(data).length} characters); takes ${accepts ?? range}`);
    }
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum': {
      const { exclusiveMinimum } = schema;
      const above = exclusiveMinimum === undefined ? 'any' : `more than ${exclusiveMinimum}`;
      const numbers = schema.type === 'integer' ? 'whole numbers' : 'numbers';
      const range = `from ${schema.minimum ?? above} to ${schema.maximum ?? 'any'}`;
      return here(`is ${value}; takes ${numbers} ${range}`);
    }
    default:
      return here(`is ${value}; ${accepts ? `takes ${accepts}` : message}`);
  }
}

/** A value as JSON; long parts are cut. */
function quote(value: unknown): string {
  return JSON.stringify(excerpt(value, 0)) ?? 'nothing';
}

function shorten(text: string): string {
  return text.length > MAX_EXCERPT ? `${text.slice(0, MAX_EXCERPT - 3)}...` : text;
}

/**
 * The part of a value that can appear in a quote. A body may be nested deeper than the stack, or be
 * very large.
 */
function excerpt(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.slice(0, MAX_EXCERPT);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > MAX_EXCERPT_DEPTH) return '...';
  if (Array.isArray(value))
    return value.slice(0, MAX_EXCERPT_ENTRIES).map((entry) => excerpt(entry, depth + 1));
  const entries = Object.entries(value).slice(0, MAX_EXCERPT_ENTRIES);
  return Object.fromEntries(
    entries.map(([name, entry]) => [name.slice(0, MAX_EXCERPT), excerpt(entry, depth + 1)]),
  );
}
