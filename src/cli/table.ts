/** Formats rows as aligned columns under a heading. Omits columns that are empty in every row. */
export function table(rows: readonly { readonly [column: string]: string }[]): string {
  if (rows.length === 0) return '';
  const columns = Object.keys(rows[0]).filter((column) => rows.some((row) => row[column] !== ''));
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]))];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A size with decimal prefixes: 1.7 GB, 12.3 MB, 0.4 kB. */
export function formatBytes(bytes: number): string {
  const unit = bytes >= 1e9 ? 3 : bytes >= 1e6 ? 2 : 1;
  return `${(bytes / 1000 ** unit).toFixed(1)} ${['B', 'kB', 'MB', 'GB'][unit]}`;
}
