import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';

export const DOCKER = join(import.meta.dirname, '..', '..', 'docker');

/** Text of a file in `docker/`. */
export const readDocker = (name: string) => readFileSync(join(DOCKER, name), 'utf8');

export interface ComposeService {
  readonly image?: string;
  readonly command?: readonly string[];
  readonly environment?: { readonly [name: string]: string };
  readonly user?: string;
  readonly ports?: readonly string[];
  readonly build?: { readonly dockerfile: string; readonly args: { readonly [name: string]: string } };
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly [key: string]: unknown;
}
export interface ComposeFile {
  readonly services: { readonly [name: string]: ComposeService };
  readonly configs?: { readonly [name: string]: { readonly file: string } };
}

/** A Compose file with its anchors resolved; its variables are left as they are. */
export const readCompose = (name: string) => parse(readDocker(name), { merge: true }) as ComposeFile;

/** Replaces `${NAME}`, `${NAME:-default}` and `${NAME:?message}` as Compose does. */
export function interpolate(text: string, environment: { readonly [name: string]: string }): string {
  return text.replaceAll(/\$\{(\w+)(?::([-?])([^}]*))?\}/g, (_, name: string, kind, rest: string) => {
    if (environment[name]) return environment[name];
    if (kind === '?') throw new Error(`${name} ${rest}`);
    return kind === '-' ? rest : '';
  });
}

interface Probe {
  readonly exec?: { readonly command: readonly string[] };
  readonly httpGet?: { readonly path: string };
  readonly failureThreshold?: number;
  readonly periodSeconds?: number;
}
export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly securityContext: object;
  readonly resources: { readonly requests: object; readonly limits: { readonly memory: string } };
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly env: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string } };
  }[];
  readonly volumeMounts: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly readOnly?: boolean;
  }[];
}
export interface PodSpec {
  readonly securityContext: object;
  readonly automountServiceAccountToken: boolean;
  readonly enableServiceLinks: boolean;
  readonly containers: readonly Container[];
  readonly volumes?: readonly { readonly name: string; readonly emptyDir?: object }[];
}
/** A resource of Kubernetes, as far as the tests look at it. */
export interface Resource {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: { readonly [name: string]: string };
  };
  readonly data?: { readonly [name: string]: string };
  readonly spec: { readonly [key: string]: unknown };
}

/** All resources of the files in `docker/kubernetes`. */
export function readResources(): Resource[] {
  return readdirSync(join(DOCKER, 'kubernetes'))
    .filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
    .flatMap((name) => parseAllDocuments(readDocker(join('kubernetes', name))))
    .map((document) => {
      expect(document.errors).toEqual([]);
      return document.toJS() as Resource;
    });
}

/** A pod, or what makes pods. */
export interface Pods {
  readonly name: string;
  readonly labels: { readonly [name: string]: string };
  readonly spec: PodSpec;
}

/** The pods of the resources. */
export function podsOf(resources: readonly Resource[]): Pods[] {
  return resources.flatMap(({ kind, metadata, spec }) => {
    const { name } = metadata;
    if (kind === 'Pod') return [{ name, labels: metadata.labels ?? {}, spec: spec as unknown as PodSpec }];
    const template = spec?.template as { metadata: Resource['metadata']; spec: PodSpec } | undefined;
    return template ? [{ name, labels: template.metadata.labels ?? {}, spec: template.spec }] : [];
  });
}
