import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { DCLinter } from 'dclint';
import { validate } from 'dockerfile-utils';
import { describe, expect, it } from 'vitest';
import {
  type ComposeService,
  DOCKER,
  interpolate,
  readDocker as read,
  readCompose,
} from './deployment-files.ts';

/** Checks the files with linters and with the Compose schema, because the tests have no Docker. */
/** The version of Node that package.json pins, without minor and patch. */
const nodeVersion = readFileSync(join(DOCKER, '..', '.nvmrc'), 'utf8')
  .trim()
  .split('.')[0];
const names = readdirSync(DOCKER).filter((name) => name.endsWith('.Dockerfile'));

describe.each(names)('%s', (name) => {
  it('passes the linter', () => {
    expect(
      validate(read(name)).map(({ message, range }) => `line ${range.start.line + 1}: ${message}`),
    ).toEqual([]);
  });

  it('pins its base images, does not run as root, and has a health check', () => {
    const lines = read(name).split('\n');
    const bases = lines.filter((line) => line.startsWith('FROM ')).map((line) => line.split(' ')[1]);
    for (const base of bases) expect(base).toMatch(/^\$\{NODE_IMAGE\}$/);
    expect(lines.filter((line) => line.startsWith('ARG '))).toEqual([
      `ARG NODE_IMAGE=node:${nodeVersion}-bookworm-slim`,
    ]);
    const users = lines.filter((line) => line.startsWith('USER '));
    expect(users.at(-1)).toMatch(/^USER 1000:1000$/);
    expect(lines.findLastIndex((line) => line.startsWith('RUN '))).toBeLessThan(
      lines.indexOf(users.at(-1) as string),
    );
    expect(lines.filter((line) => line.startsWith('HEALTHCHECK '))).toHaveLength(1);
  });
});

describe('compose', () => {
  // Ajv knows this draft under its older URL, and uses it by default.
  const { $schema: _, ...schema } = JSON.parse(
    readFileSync(
      join(import.meta.dirname, '..', '..', 'node_modules', 'dclint', 'schemas', 'compose.schema.json'),
      'utf8',
    ),
  );
  const base = readCompose('compose.yaml');
  const cuda = readCompose('compose.cuda.yaml');
  const monitoring = readCompose('compose.monitoring.yaml');

  it.each([
    ['compose.yaml', base],
    ['compose.cuda.yaml', cuda],
    ['compose.monitoring.yaml', monitoring],
  ])('%s fits the schema of the Compose specification', (_name, file) => {
    const ajv = new Ajv({ strict: false, validateFormats: false });
    expect(ajv.validate(schema, file), ajv.errorsText()).toBe(true);
  });

  it.each(['compose.yaml', 'compose.cuda.yaml', 'compose.monitoring.yaml'])(
    '%s passes the linter',
    (name) => {
      // Rules about the order of keys are a matter of taste.
      const rules = {
        'service-keys-order': 0,
        'services-alphabetical-order': 0,
        'top-level-properties-order': 0,
        'require-project-name-field': 0,
        'no-build-and-image': 0,
      } as const;
      const linter = new DCLinter({ rules, quiet: false, debug: false, exclude: [] });
      // The package does not export this type.
      interface Found {
        readonly messages: readonly {
          readonly line: number;
          readonly message: string;
          readonly rule: string;
        }[];
      }
      const results = linter.lintFiles([join(DOCKER, name)], false) as unknown as readonly Found[];
      const found = results
        .flatMap(({ messages }) => messages)
        .map(({ line, message, rule }) => `${line}: ${message} (${rule})`);
      expect(found).toEqual([]);
    },
  );

  it('Redis has a password that must be set, half of its memory for data, and no public port', () => {
    const { redis, api, worker } = base.services;
    expect(redis.ports).toBeUndefined();
    expect(() => interpolate(String(redis.command), {})).toThrow(/FINDERY_REDIS_PASSWORD is not set.*README/);
    const environment = { FINDERY_REDIS_PASSWORD: 'secret' };
    for (const { environment: variables } of [api, worker])
      expect(interpolate(String(variables?.REDIS_URL), environment)).toBe('redis://:secret@redis:6379');
    expect(redis.mem_limit).toBe('2g');
    expect(read('redis.conf')).toContain('maxmemory 1gb');
    expect(read('README.md')).toContain('FINDERY_REDIS_PASSWORD=$(openssl rand -hex 32)');
  });

  it('takes all images by an argument, so that a digest can pin them', () => {
    const pinned = {
      FINDERY_NODE_IMAGE: 'node:22@sha256:00',
      FINDERY_REDIS_IMAGE: 'redis:7.4@sha256:00',
      FINDERY_REDIS_PASSWORD: 'secret',
    };
    const imageOf = ({ image, build }: ComposeService) => String(image ?? build?.args.NODE_IMAGE);
    for (const { services } of [base, cuda])
      for (const service of Object.values(services)) {
        expect(interpolate(imageOf(service), pinned)).toMatch(/@sha256:00$/);
        expect(interpolate(imageOf(service), {})).toMatch(/:\d[^:]*$/);
      }
  });

  const { worker: _worker, ...observers } = monitoring.services;
  it.each(Object.entries({ ...base.services, ...observers }))(
    '%s has only the rights that it needs',
    (_name, service) => {
      expect(service).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        user: expect.stringMatching(/^[1-9]/),
        restart: 'unless-stopped',
        pids_limit: expect.any(Number),
      });
      for (const right of ['privileged', 'cap_add', 'network_mode', 'pid', 'ipc', 'devices'])
        expect(service).not.toHaveProperty(right);
      // findery's containers write to volumes and to a tmpfs; Redis writes only to its volume.
      if (service.build) expect(service.tmpfs).toEqual(['/tmp']);
    },
  );

  it('requires API keys by default, and the documents say how to create the first', () => {
    expect(base.services.api.environment).toMatchObject({
      FINDERY_KEYS: expect.stringMatching(/^\$\{FINDERY_KEYS:-required\}$/),
    });
    for (const text of [read('README.md'), readFileSync(join(DOCKER, '..', 'README.md'), 'utf8')])
      expect(text).toMatch(
        /docker compose -f docker\/compose.yaml run --rm api bin\/findery keys create .*--scopes admin/,
      );
  });

  it('binds the API to this machine, and every image has its file', () => {
    for (const { ports } of [base.services.api, monitoring.services.grafana])
      expect(ports).toEqual([expect.stringMatching(/^127\.0\.0\.1:/)]);
    expect(monitoring.services.prometheus.ports).toBeUndefined(); // it asks nobody who they are
    for (const { services } of [base, cuda])
      for (const { build } of Object.values(services))
        if (build) expect(names).toContain(build.dockerfile.replace('docker/', ''));
  });
});
