import { markdownTable } from './tables.ts';

/** What tools/train/accuracy.py writes: by kind of picture and by kind of error. */
interface Accuracies {
  readonly [pictures: string]: {
    readonly [error: string]: { readonly pairs: number; readonly inOrder: number };
  };
}

/** Shares of held-out one-error pairs in the right order. */
export function accuracyTable(accuracies: Accuracies): string {
  const pictures = Object.keys(accuracies);
  const errors = [...new Set(pictures.flatMap((kind) => Object.keys(accuracies[kind])))];
  return markdownTable(
    ['one error in', ...pictures.flatMap((kind) => [`${kind}: pairs`, 'in order'])],
    errors.map((error) => [
      error,
      ...pictures.flatMap((kind) => {
        const row = accuracies[kind][error];
        return row ? [String(row.pairs), `${(100 * row.inOrder).toFixed(2)} %`] : ['-', '-'];
      }),
    ]),
  );
}
