import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { describeApi } from '../../src/api/docs/describe-api.ts';
import { PROBLEM_TEXTS } from '../../src/api/docs/problem-texts.ts';
import { PROBLEMS, type ProblemCode } from '../../src/contract/problem.ts';
import { NAMED_SCHEMAS } from '../../src/contract/schemas/index.ts';
import { WEBHOOK_EVENTS } from '../../src/contract/schemas/webhook.ts';
import { VERSION } from '../../src/version.ts';

interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly requestBody?: {
    readonly required: boolean;
    readonly content: { readonly 'application/json'?: { readonly schema: { readonly $ref?: string } } };
  };
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
  }[];
  readonly responses: Record<string, { readonly content?: Record<string, { readonly schema?: object }> }>;
}

interface Contract {
  readonly openapi: string;
  readonly info: { readonly version: string };
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Record<string, Record<string, Operation>>;
  readonly webhooks: Record<string, { readonly post: Operation }>;
  readonly components: { readonly schemas: Record<string, object> };
}

let contract: Contract;
let operations: (readonly [call: string, operation: Operation])[];

beforeAll(async () => {
  // As clients get it, without values that JSON cannot hold.
  contract = JSON.parse(JSON.stringify(await describeApi())) as Contract;
  operations = Object.entries(contract.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(
      ([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const,
    ),
  );
});

/** Every value under the key `$ref`, however deep. */
function references(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === '$ref' && typeof inner === 'string' ? [inner] : references(inner),
  );
}

/** The target of a local reference, or undefined. */
function resolve(reference: string): unknown {
  if (!reference.startsWith('#/')) return undefined;
  return reference
    .slice(2)
    .split('/')
    .reduce<unknown>((value, name) => (value as Record<string, unknown> | undefined)?.[name], contract);
}

describe('the OpenAPI document', () => {
  it('equals openapi/openapi.json', async () => {
    const written: unknown = JSON.parse(
      await readFile(new URL('../../openapi/openapi.json', import.meta.url), 'utf8'),
    );
    expect(contract, 'openapi/openapi.json differs from the routes; write it with `npm run openapi`').toEqual(
      written,
    );
  });

  it('is OpenAPI 3.1 and has the version of the package', () => {
    expect(contract.openapi).toBe('3.1.0');
    expect(contract.info.version).toBe(VERSION);
  });

  it('has no broken reference', () => {
    const all = references(contract);
    expect(all.length).toBeGreaterThan(50);
    expect(all.filter((reference) => resolve(reference) === undefined)).toEqual([]);
  });

  it('holds every named schema once, under its name', () => {
    const names = NAMED_SCHEMAS.map((schema) => String((schema as { $id?: string }).$id));
    expect(new Set(names).size).toBe(names.length);
    expect(Object.keys(contract.components.schemas).sort()).toEqual([...names].sort());
  });

  it('gives every operation an id, a summary and a tag', () => {
    expect(operations.length).toBeGreaterThan(20);
    const tags = contract.tags.map(({ name }) => name);
    for (const [call, { operationId, summary, tags: own = [] }] of operations) {
      expect(operationId, call).toMatch(/^[a-z][A-Za-z]+$/);
      expect(summary, call).toMatch(/\S/);
      expect(own, call).toHaveLength(1);
      expect(tags, call).toContain(own[0]);
    }
    const ids = operations.map(([, { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('declares the responses of every operation, and the problem as the default', () => {
    for (const [call, { responses }] of operations) {
      expect(
        Object.keys(responses).filter((status) => /^[23]\d\d$/.test(status)),
        call,
      ).not.toEqual([]);
      expect(responses.default?.content?.['application/problem+json']?.schema, call).toEqual({
        $ref: '#/components/schemas/Problem',
      });
    }
  });

  it('declares every path parameter', () => {
    for (const [call, { parameters = [] }] of operations) {
      const inPath = [...call.matchAll(/{([^}]+)}/g)].map(([, name]) => name);
      const declared = parameters.filter((parameter) => parameter.in === 'path');
      expect(declared.map(({ name }) => name).sort(), call).toEqual(inPath.sort());
      expect(
        declared.every(({ required }) => required),
        call,
      ).toBe(true);
    }
  });

  it('marks bodies as required or optional', () => {
    const bodies = operations.filter(([, { requestBody }]) => requestBody);
    expect(bodies.map(([call, { requestBody }]) => `${call} ${requestBody?.required}`).sort()).toEqual([
      'PATCH /v1/webhook-endpoints/{id} true',
      'POST /v1/images true',
      'POST /v1/jobs true',
      'POST /v1/jobs/{id}/cancel false',
      'POST /v1/keys false',
      'POST /v1/keys/{id}/rotate false',
      'POST /v1/policies true',
      'POST /v1/policies/{id}/samples false',
      'POST /v1/samples true',
      'POST /v1/webhook-endpoints true',
      'POST /v1/webhook-endpoints/{id}/rotate-secret false',
      'PUT /v1/jobs/{id} true',
    ]);
  });

  it('declares where `Prefer: wait` holds the response', () => {
    const held = operations.filter(([, { parameters = [] }]) =>
      parameters.some(({ name }) => name === 'prefer'),
    );
    expect(held.map(([call]) => call).sort()).toEqual([
      'GET /v1/jobs/{id}',
      'GET /v1/samples/{id}',
      'POST /v1/images',
      'POST /v1/jobs',
      'POST /v1/policies/{id}/samples',
      'POST /v1/samples',
      'POST /v1/webhook-endpoints/{id}/test',
      'PUT /v1/jobs/{id}',
    ]);
  });

  it('declares `Idempotency-Key` for every POST, and the mark of repeated answers', () => {
    for (const [call, { parameters = [], responses }] of operations) {
      const isPost = call.startsWith('POST ');
      expect(
        parameters.some(({ name }) => name === 'idempotency-key'),
        call,
      ).toBe(isPost);
      const [, success] = Object.entries(responses).find(([status]) => status.startsWith('2')) ?? [];
      expect(JSON.stringify(success).includes('idempotent-replayed'), call).toBe(isPost);
    }
  });

  it('describes the request of every webhook event', () => {
    expect(Object.keys(contract.webhooks)).toEqual([...WEBHOOK_EVENTS, 'webhook.test']);
    for (const [type, { post }] of Object.entries(contract.webhooks)) {
      expect(post.summary, type).toMatch(/\S/);
      expect(post.parameters?.map(({ name }) => name)).toEqual([
        'webhook-id',
        'webhook-timestamp',
        'webhook-signature',
      ]);
      const { $ref = '' } = post.requestBody?.content['application/json']?.schema ?? {};
      const schema = resolve($ref) as {
        properties: { type: { enum?: string[]; const?: string } };
      };
      const { enum: several, const: one } = schema.properties.type;
      expect(several ?? [one], type).toContain(type);
    }
  });

  it('has these operations', () => {
    const byAddress = (a: string, b: string) => (addressOf(a) < addressOf(b) ? -1 : 1);
    const addressOf = (call: string) => call.split(' ').reverse().join(' ');
    expect(operations.map(([call]) => call).sort(byAddress)).toEqual([
      'GET /healthz',
      'GET /metrics',
      'GET /problems/{code}',
      'GET /readyz',
      'POST /v1/images',
      'GET /v1/images/{id}',
      'GET /v1/jobs',
      'POST /v1/jobs',
      'GET /v1/jobs/{id}',
      'PUT /v1/jobs/{id}',
      'POST /v1/jobs/{id}/cancel',
      'GET /v1/jobs/{id}/events',
      'POST /v1/jobs/{id}/pause',
      'POST /v1/jobs/{id}/resume',
      'POST /v1/jobs/{id}/retry',
      'GET /v1/jobs/{id}/rewards',
      'GET /v1/keys',
      'POST /v1/keys',
      'DELETE /v1/keys/{id}',
      'GET /v1/keys/{id}',
      'POST /v1/keys/{id}/rotate',
      'GET /v1/models',
      'GET /v1/models/{name}',
      'GET /v1/optimizers',
      'GET /v1/policies',
      'POST /v1/policies',
      'DELETE /v1/policies/{id}',
      'GET /v1/policies/{id}',
      'GET /v1/policies/{id}/parameters',
      'POST /v1/policies/{id}/samples',
      'GET /v1/queues',
      'GET /v1/rewards',
      'GET /v1/samples',
      'POST /v1/samples',
      'GET /v1/samples/{id}',
      'GET /v1/usage',
      'GET /v1/webhook-deliveries',
      'GET /v1/webhook-deliveries/{id}',
      'POST /v1/webhook-deliveries/{id}/redeliver',
      'GET /v1/webhook-endpoints',
      'POST /v1/webhook-endpoints',
      'DELETE /v1/webhook-endpoints/{id}',
      'GET /v1/webhook-endpoints/{id}',
      'PATCH /v1/webhook-endpoints/{id}',
      'POST /v1/webhook-endpoints/{id}/rotate-secret',
      'POST /v1/webhook-endpoints/{id}/test',
      'GET /v1/workers',
    ]);
  });
});

describe('problem types', () => {
  it('have an error status, a title and an explanation', () => {
    for (const [code, { status, title }] of Object.entries(PROBLEMS)) {
      expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/);
      expect(status, code).toBeGreaterThanOrEqual(400);
      expect(status, code).toBeLessThan(600);
      expect(title, code).toMatch(/\S/);
      expect(PROBLEM_TEXTS[code as ProblemCode], code).toMatch(/^[A-Z].{20,}\.$/);
    }
  });
});
