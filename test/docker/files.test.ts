import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { DCLinter } from 'dclint';
import { validate } from 'dockerfile-utils';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';

/** Checks the files with linters and with the Compose schema, because the tests have no Docker. */
const DOCKER = join(import.meta.dirname, '..', '..', 'docker');
const read = (name: string) => readFileSync(join(DOCKER, name), 'utf8');
const names = readdirSync(DOCKER).filter((name) => name.endsWith('.Dockerfile'));

interface Service {
  readonly image?: string;
  readonly command?: readonly string[];
  readonly user?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly ports?: readonly string[];
  readonly deploy?: object;
  readonly build?: { readonly dockerfile: string };
  readonly [key: string]: unknown;
}
interface Compose {
  readonly services: { readonly [name: string]: Service };
}

describe.each(names)('%s', (name) => {
  it('passes the linter', () => {
    expect(
      validate(read(name)).map(({ message, range }) => `line ${range.start.line + 1}: ${message}`),
    ).toEqual([]);
  });

  it('pins its base images, does not run as root, and has a health check', () => {
    const lines = read(name).split('\n');
    const bases = lines.filter((line) => line.startsWith('FROM ')).map((line) => line.split(' ')[1]);
    for (const base of bases) expect(base).toMatch(/:[^:]*\d+\.?\d*[^:]*$/);
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
  const base = parse(read('compose.yaml'), { merge: true }) as Compose;
  const cuda = parse(read('compose.cuda.yaml'), { merge: true }) as Compose;
  const monitoring = parse(read('compose.monitoring.yaml'), { merge: true }) as Compose;

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

  it('Redis is durable, evicts nothing and has no public port', () => {
    const { redis } = base.services;
    expect(redis.command?.join(' ')).toMatch(/--appendonly yes .*--maxmemory-policy noeviction/);
    expect(redis.ports).toBeUndefined();
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

describe('kubernetes', () => {
  interface Resource {
    readonly kind: string;
    readonly metadata: { readonly name: string };
    readonly spec: { readonly template?: { readonly spec: PodSpec }; readonly [key: string]: unknown };
  }
  interface Container {
    readonly name: string;
    readonly image: string;
    readonly securityContext: object;
    readonly env?: readonly { readonly name: string; readonly value: string }[];
    readonly volumeMounts: readonly {
      readonly name: string;
      readonly mountPath: string;
      readonly readOnly?: boolean;
    }[];
  }
  interface PodSpec {
    readonly securityContext: object;
    readonly automountServiceAccountToken: boolean;
    readonly containers: readonly Container[];
    readonly volumes?: readonly { readonly name: string; readonly emptyDir?: object }[];
  }
  const resources = readdirSync(join(DOCKER, 'kubernetes'))
    .filter((name) => name.endsWith('.yaml'))
    .flatMap((name) => parseAllDocuments(read(join('kubernetes', name))))
    .map((document) => {
      expect(document.errors).toEqual([]);
      return document.toJS() as Resource;
    });
  const pods = resources.filter(({ spec }) => spec.template);

  it('defines all resources', () => {
    const kinds = resources.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort();
    expect(kinds).toEqual([
      'Deployment findery-api',
      'Deployment findery-worker',
      'PersistentVolumeClaim findery-data',
      'PersistentVolumeClaim findery-models',
      'ScaledObject findery-worker',
      'Service findery',
      'Service findery-redis',
      'StatefulSet findery-redis',
      'TriggerAuthentication findery-queues',
    ]);
  });

  it.each(pods.map((pod) => [pod.metadata.name, pod] as const))(
    '%s has only the rights that it needs',
    (_name, pod) => {
      const { spec } = pod.spec.template as { readonly spec: PodSpec };
      expect(spec.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: expect.toSatisfy((user: number) => user > 0),
        seccompProfile: { type: 'RuntimeDefault' },
      });
      expect(spec.automountServiceAccountToken).toBe(false);
      for (const right of ['hostNetwork', 'hostPID', 'hostIPC']) expect(spec).not.toHaveProperty(right);
      for (const container of spec.containers) {
        // findery's containers need a writable /tmp that ends with the pod.
        if (container.image.startsWith('findery-')) {
          const [tmp] = container.volumeMounts.filter(({ mountPath }) => mountPath === '/tmp');
          expect(spec.volumes?.find(({ name }) => name === tmp?.name)?.emptyDir).toBeDefined();
        }
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
      }
    },
  );

  it('requires API keys, and KEDA has one', () => {
    const api = pods.find(({ metadata }) => metadata.name === 'findery-api')?.spec.template;
    expect(api?.spec.containers[0].env).toContainEqual({ name: 'FINDERY_KEYS', value: 'required' });
    const scaled = resources.find(({ kind }) => kind === 'ScaledObject');
    expect(scaled?.spec).toMatchObject({
      triggers: [{ metadata: { authMode: 'bearer' }, authenticationRef: { name: 'findery-queues' } }],
    });
    const authentication = resources.find(({ kind }) => kind === 'TriggerAuthentication');
    expect(authentication?.spec).toMatchObject({
      secretTargetRef: [{ parameter: 'token', name: 'findery-queues' }],
    });
    expect(read('README.md')).toMatch(/kubectl create secret generic findery-queues --from-literal=token=/);
  });

  it('scales workers with GET /v1/queues', () => {
    const scaled = resources.find(({ kind }) => kind === 'ScaledObject');
    expect(scaled?.spec).toMatchObject({
      scaleTargetRef: { name: 'findery-worker' },
      triggers: [
        { type: 'metrics-api', metadata: { url: 'http://findery/v1/queues', valueLocation: 'unfinished' } },
      ],
    });
  });
});
