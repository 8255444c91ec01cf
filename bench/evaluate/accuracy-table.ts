import { markdownTable } from './tables.ts';

/** Output of tools/train/accuracy.py, by kind of picture and kind of error. */
interface Accuracies {
  readonly [pictures: string]: {
    readonly [error: string]: { readonly pairs: number; readonly inOrder: number };
  };
}

/** Names of the kinds of pictures in the table. */
const LABELS: { readonly [pictures: string]: string } = { painted: 'generated' };

/** Table of the held-out pairs with one error that a scorer orders correctly. */
export function accuracyTable(accuracies: Accuracies): string {
  const pictures = Object.keys(accuracies);
  const errors = [...new Set(pictures.flatMap((kind) => Object.keys(accuracies[kind])))];
  return markdownTable(
    ['one error in', ...pictures.flatMap((kind) => [`${LABELS[kind] ?? kind}: pairs`, 'in order'])],
    errors.map((error) => [
      error,
      ...pictures.flatMap((kind) => {
        const row = accuracies[kind][error];
        return row ? [String(row.pairs), `${(100 * row.inOrder).toFixed(2)} %`] : ['-', '-'];
      }),
    ]),
  );
}
