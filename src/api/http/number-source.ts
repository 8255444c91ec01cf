/** A number as a JSON text spells it; 2^64 - 1 would be another number in JavaScript. */
class NumberSource {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

/** `JSON.parse` also gives the text of a value (ECMAScript's "JSON.parse source text access"). */
type Reviver = (key: string, value: unknown, context?: { readonly source?: string }) => unknown;

/**
 * The spelling of the number at a place of a JSON text.
 * @param pointer JSON pointer (RFC 6901)
 * @returns null if no number is there
 */
export function numberSource(text: string, pointer: string): string | null {
  const keepSource: Reviver = (_, value, context) =>
    typeof value === 'number' && context?.source !== undefined ? new NumberSource(context.source) : value;
  let value: unknown = JSON.parse(text, keepSource);
  for (const step of pointer.split('/').slice(1)) {
    if (typeof value !== 'object' || value === null) return null;
    value = (value as { [key: string]: unknown })[step.replaceAll('~1', '/').replaceAll('~0', '~')];
  }
  return value instanceof NumberSource ? value.source : null;
}
