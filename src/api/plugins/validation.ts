import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import type { FastifyInstance, FastifySchemaValidationError } from 'fastify';
import fp from 'fastify-plugin';
import { NAMED_SCHEMAS } from '../../contract/schemas/index.ts';

/**
 * Validates requests by the schemas of `src/contract/schemas`. Bodies are taken as they are: no
 * coercion, no defaults, nothing removed. Strings in the query and the headers become the types of
 * the schema.
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

/**
 * A validator that knows every named schema and the keywords of the contract.
 * @param coerceTypes true for values that arrive as text
 */
export function createAjv(coerceTypes: boolean): Ajv {
  const ajv = new Ajv({
    allErrors: true,
    verbose: true, // `describeValidation` reads the values and schemas of errors
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
  addFormats.default(ajv);
  for (const schema of NAMED_SCHEMAS) ajv.addSchema(schema as object);
  return ajv;
}
