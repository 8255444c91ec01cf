import type { ErrorObject } from 'ajv';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import type { FastifyInstance, FastifySchemaValidationError } from 'fastify';
import fp from 'fastify-plugin';
import { NAMED_SCHEMAS } from '../../contract/schemas/index.ts';

/**
 * Validation by the schemas of `src/jobs/schemas`. Bodies are taken as they are (no coercion: a number is no prompt, and
 * nothing is dropped in silence); strings of the query become the numbers that the schema wants.
 */
export const validation = fp(async (app: FastifyInstance) => {
  const strict = createAjv(false);
  const coercing = createAjv(true);
  app.setValidatorCompiler(({ schema, httpPart }) => {
    const validate = (httpPart === 'body' ? strict : coercing).compile(schema as object);
    return (data: unknown) => {
      if (validate(data)) return { value: data };
      return {
        error: Object.assign(new Error('validation'), {
          validation: (validate.errors ?? []) as FastifySchemaValidationError[],
          validationContext: httpPart,
        }),
      };
    };
  });
});

/** Validation by all the schemas that have a name; `coerceTypes` for what comes as text. */
export function createAjv(coerceTypes: boolean): Ajv {
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    coerceTypes,
    useDefaults: false,
    removeAdditional: false,
    allowUnionTypes: true,
    strictTypes: false,
  });
  ajv.addKeyword('x-accepts');
  ajv.addKeyword('x-keys');
  ajv.addKeyword({
    keyword: 'x-well-formed',
    type: 'string',
    errors: false,
    validate: (_: true, text: string) => text.isWellFormed(),
  });
  ajv.addKeyword('x-secret');
  (addFormats as unknown as (ajv: Ajv) => void)(ajv);
  for (const schema of NAMED_SCHEMAS) ajv.addSchema(schema as object);
  return ajv;
}

/** An error of validation in words: where, what was there, what is accepted. */
export function describeValidation(error: FastifySchemaValidationError): {
  pointer: string;
  message: string;
} {
  const { instancePath, keyword, params, data, parentSchema, message } = error as unknown as ErrorObject;
  const schema = (parentSchema ?? {}) as { [key: string]: unknown };
  const accepts = schema['x-accepts'];
  // What may be a secret, or hold one, is not said back.
  const found = schema['x-secret'] ? 'not what is accepted' : shorten(data);
  switch (keyword) {
    case 'required':
      return { pointer: `${instancePath}/${params.missingProperty}`, message: 'is missing' };
    case 'additionalProperties': {
      const names = Object.keys((schema.properties as object | undefined) ?? {});
      const name = String(params.additionalProperty).replaceAll('~', '~0').replaceAll('/', '~1');
      return {
        pointer: `${instancePath}/${name}`,
        message: accepts
          ? `is not taken; takes ${accepts}`
          : `is not known here; there are ${names.join(', ') || 'no fields'}`,
      };
    }
    case 'enum':
      return {
        pointer: instancePath,
        message: `is ${found}; takes ${(params.allowedValues as unknown[]).join(', ')}`,
      };
    case 'pattern':
      return {
        pointer: instancePath,
        message: `is ${found}; takes ${accepts ?? `text like ${params.pattern}`}`,
      };
    case 'type': {
      const plain = `a value of type ${[params.type].flat().join(' or ')}`;
      const wanted = accepts && params.type === 'string' ? `text: ${accepts}` : plain;
      return {
        pointer: instancePath,
        message: `is ${found}; takes ${Array.isArray(params.type) ? (accepts ?? plain) : wanted}`,
      };
    }
    case 'maxProperties':
      return {
        pointer: instancePath,
        message: `has ${Object.keys(data as object).length} entries; takes ${accepts}`,
      };
    case 'minItems':
    case 'maxItems':
      return {
        pointer: instancePath,
        message: `has ${(data as unknown[]).length} entries; takes ${accepts ?? `${schema.minItems ?? 0} to ${schema.maxItems ?? 'any number'}`}`,
      };
    case 'minLength':
    case 'maxLength':
      return {
        pointer: instancePath,
        message: `is ${found} (${String(data).length} characters); takes ${accepts ?? `${schema.minLength ?? 0} to ${schema.maxLength} characters`}`,
      };
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum': {
      const lowest =
        schema.minimum ??
        (schema.exclusiveMinimum === undefined ? 'any' : `more than ${schema.exclusiveMinimum}`);
      return {
        pointer: instancePath,
        message: `is ${found}; takes ${schema.type === 'integer' ? 'whole numbers' : 'numbers'} from ${lowest} to ${schema.maximum ?? 'any'}`,
      };
    }
    default:
      return { pointer: instancePath, message: `is ${found}; ${accepts ? `takes ${accepts}` : message}` };
  }
}

function shorten(value: unknown): string {
  const text = JSON.stringify(excerpt(value, 0)) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** As much of a value as could be shown: one may be nested deeper than the stack, or hold all that a body can. */
function excerpt(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.slice(0, 80);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > 20) return '...';
  if (Array.isArray(value)) return value.slice(0, 40).map((entry) => excerpt(entry, depth + 1));
  const entries = Object.entries(value).slice(0, 40);
  return Object.fromEntries(entries.map(([name, entry]) => [name.slice(0, 80), excerpt(entry, depth + 1)]));
}
