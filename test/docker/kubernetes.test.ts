import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { podsOf, readDocker, readResources } from './deployment-files.ts';

/** Checks the manifests; `npm run test:deploy` also validates them against Kubernetes' schemas. */
describe('kubernetes', () => {
  const resources = readResources();
  const pods = podsOf(resources);
  const specOf = (kind: string, name: string) => {
    const found = resources.find((each) => each.kind === kind && each.metadata.name === name);
    if (!found) throw new Error(`There is no ${kind} ${name}.`);
    return found.spec;
  };
  const podsOfApp = (name: string) => {
    const found = pods.find((each) => each.name === name);
    if (!found) throw new Error(`There are no pods ${name}.`);
    return found;
  };

  it('defines all resources, in one namespace that refuses pods with more rights', () => {
    const kinds = resources.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort();
    expect(kinds).toEqual([
      'ConfigMap findery-redis',
      'Deployment findery-api',
      'Deployment findery-worker',
      'Namespace findery',
      'NetworkPolicy findery-api',
      'NetworkPolicy findery-egress',
      'NetworkPolicy findery-inside',
      'NetworkPolicy findery-redis',
      'PersistentVolumeClaim findery-data',
      'PersistentVolumeClaim findery-models',
      'Pod findery-toolbox',
      'PodDisruptionBudget findery-api',
      'PodDisruptionBudget findery-worker',
      'ScaledObject findery-worker',
      'Service findery',
      'Service findery-redis',
      'StatefulSet findery-redis',
      'TriggerAuthentication findery-queues',
    ]);
    for (const { kind, metadata } of resources)
      expect(metadata.namespace, metadata.name).toBe(kind === 'Namespace' ? undefined : 'findery');
    expect(resources.find(({ kind }) => kind === 'Namespace')?.metadata.labels).toEqual({
      'pod-security.kubernetes.io/enforce': 'restricted',
    });
  });

  it('lists its files and images for kustomize, where digests are set', () => {
    const { resources: files, images } = parse(readDocker('kubernetes/kustomization.yaml')) as {
      resources: string[];
      images: { name: string; newTag: string }[];
    };
    expect(files).toEqual(['namespace.yaml', 'network.yaml', 'redis.yaml', 'api.yaml', 'worker.yaml']);
    const used = new Set(pods.flatMap(({ spec }) => spec.containers.map(({ image }) => image)));
    expect(images.map(({ name, newTag }) => `${name}:${newTag}`).sort()).toEqual([...used].sort());
    expect(readDocker('README.md')).toContain('docker buildx imagetools inspect');
  });

  it.each(pods)('$name has only the rights that it needs, and bounds', ({ name, spec }) => {
    expect(spec.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: expect.toSatisfy((user: number) => user > 0),
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(spec.automountServiceAccountToken).toBe(false);
    // Otherwise Kubernetes sets variables such as FINDERY_PORT for the Service "findery".
    expect(spec.enableServiceLinks).toBe(false);
    for (const right of ['hostNetwork', 'hostPID', 'hostIPC']) expect(spec).not.toHaveProperty(right);
    for (const container of spec.containers) {
      // findery's containers need a writable /tmp that ends with the pod.
      if (container.image.startsWith('findery-')) {
        const [tmp] = container.volumeMounts.filter(({ mountPath }) => mountPath === '/tmp');
        expect(spec.volumes?.find((volume) => volume.name === tmp?.name)?.emptyDir).toBeDefined();
      }
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(container.resources).toMatchObject({
        requests: { cpu: expect.any(String), memory: expect.any(String) },
        limits: { memory: expect.any(String) },
      });
      if (name === 'findery-toolbox') continue;
      expect(container.startupProbe).toBeDefined();
      expect(container.readinessProbe).toBeDefined();
      expect(container.livenessProbe).toBeDefined();
    }
  });

  it('gives pods time to start, and restarts no worker because Redis is away', () => {
    const seconds = (name: string) => {
      const { periodSeconds = 10, failureThreshold = 3 } =
        podsOfApp(name).spec.containers[0].startupProbe ?? {};
      return periodSeconds * failureThreshold;
    };
    expect(seconds('findery-api')).toBeGreaterThan(60); // START_WAIT_MS
    expect(seconds('findery-worker')).toBeGreaterThanOrEqual(600);
    expect(seconds('findery-redis')).toBeGreaterThanOrEqual(600);
    const [worker] = podsOfApp('findery-worker').spec.containers;
    expect(worker.livenessProbe?.exec?.command.slice(-2)).toEqual(['worker', 'alive']);
  });

  it('keeps an API and all but one worker while nodes are drained', () => {
    expect(specOf('PodDisruptionBudget', 'findery-api')).toMatchObject({
      minAvailable: 1,
      selector: { matchLabels: { app: 'findery-api' } },
    });
    expect(specOf('Deployment', 'findery-api')).toMatchObject({
      replicas: 2,
      strategy: { rollingUpdate: { maxUnavailable: 0 } },
    });
    expect(specOf('PodDisruptionBudget', 'findery-worker')).toMatchObject({
      maxUnavailable: 1,
      selector: { matchLabels: { app: 'findery-worker' } },
    });
  });

  it('lets only findery reach Redis, and no pod reach the metadata service of a cloud', () => {
    expect(specOf('NetworkPolicy', 'findery-redis')).toEqual({
      podSelector: { matchLabels: { app: 'findery-redis' } },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        {
          from: [{ podSelector: { matchLabels: { 'app.kubernetes.io/part-of': 'findery' } } }],
          ports: [{ port: 6379 }],
        },
      ],
      egress: [],
    });
    const { podSelector, egress } = specOf('NetworkPolicy', 'findery-egress') as {
      podSelector: { matchLabels: object };
      egress: { to?: { ipBlock: { cidr: string; except: string[] } }[] }[];
    };
    expect(egress[0].to?.map(({ ipBlock }) => ipBlock.except[0])).toEqual(['169.254.0.0/16', 'fe80::/10']);
    for (const { name, labels } of pods)
      if (name !== 'findery-redis') expect(labels).toMatchObject(podSelector.matchLabels);
  });

  it('takes the URL and the password of Redis from a secret, which the documents create', () => {
    for (const { name, spec } of pods) {
      const [{ env }] = spec.containers;
      const isRedis = name === 'findery-redis';
      const [variable, key] = isRedis ? ['REDISCLI_AUTH', 'password'] : ['REDIS_URL', 'url'];
      const valueFrom = { secretKeyRef: { name: 'findery-redis', key } };
      expect(env).toContainEqual({ name: variable, valueFrom });
    }
    expect(readDocker('README.md')).toMatch(
      /create secret generic findery-redis -n findery --from-literal=password=.*--from-literal=url=redis:/s,
    );
  });

  it('requires API keys, and KEDA has one that reads only numbers', () => {
    const [api] = podsOfApp('findery-api').spec.containers;
    expect(api.env).toContainEqual({ name: 'FINDERY_KEYS', value: 'required' });
    expect(api.env).toContainEqual({ name: 'FINDERY_REQUIRE_DURABLE', value: 'true' });
    expect(specOf('ScaledObject', 'findery-worker')).toMatchObject({
      triggers: [{ metadata: { authMode: 'bearer' }, authenticationRef: { name: 'findery-queues' } }],
    });
    expect(specOf('TriggerAuthentication', 'findery-queues')).toMatchObject({
      secretTargetRef: [{ parameter: 'token', name: 'findery-queues' }],
    });
    expect(readDocker('README.md')).toMatch(/keys create --name keda --scopes metrics:read\n/);
    expect(readDocker('README.md')).toMatch(
      /kubectl create secret generic findery-queues -n findery --from-literal=token=/,
    );
  });

  it('scales workers with GET /v1/queues, at an address that resolves in the namespace of KEDA', () => {
    expect(specOf('ScaledObject', 'findery-worker')).toMatchObject({
      scaleTargetRef: { name: 'findery-worker' },
      triggers: [
        {
          type: 'metrics-api',
          metadata: {
            url: 'http://findery.findery.svc.cluster.local/v1/queues',
            valueLocation: 'unfinished',
          },
        },
      ],
    });
  });
});
