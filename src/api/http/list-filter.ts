import { ProblemError } from '../../contract/problem.ts';

/** Work that lists filter by the same parameters. */
interface ListedWork {
  readonly status: string;
  readonly model: string;
  readonly metadata: { readonly [key: string]: string };
}

/** The query of a list of work: pages, filters, and `metadata.KEY` for pairs of the metadata. */
export interface WorkQuery {
  readonly limit?: number;
  readonly after?: string;
  readonly status?: string;
  readonly model?: string;
  readonly [metadata: string]: unknown;
}

/**
 * A filter by status, model and metadata.
 * @param others names of the parameters of this list that the caller filters by itself
 * @throws ProblemError `bad-request` for a parameter that is unknown
 */
export function workFilter(
  { limit: _, after: __, status, model, ...rest }: WorkQuery,
  others: readonly string[] = [],
): (work: ListedWork) => boolean {
  const pairs = Object.entries(rest)
    .filter(([name]) => !others.includes(name))
    .map(([name, value]) => {
      if (name.startsWith('metadata.')) return [name.slice('metadata.'.length), String(value)] as const;
      const known = ['limit', 'after', 'status', 'model', ...others].join(', ');
      throw new ProblemError(
        'bad-request',
        `The query has "${name}", which is not known here; known are: ${known} and metadata.KEY.`,
        [{ pointer: `/${name}`, message: 'is not known here' }],
      );
    });
  return (work) =>
    (status === undefined || work.status === status) &&
    (model === undefined || work.model === model) &&
    pairs.every(([key, value]) => work.metadata[key] === value);
}
