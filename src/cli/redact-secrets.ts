/** Field names whose values are secret. */
const SECRET_NAMES = /^(?:authorization|secret|password|apikey)$/i;
/**
 * Levels of nesting that are logged. Deeper values become `...`, so nothing that was not checked is
 * logged.
 */
const MAX_DEPTH = 6;

/**
 * Replaces the values of secret fields with `***`, at any depth and in lists, in a copy. A value
 * without secrets is returned as it is.
 *
 * pino's own `redact` copies every value of every line if one of its paths begins with a wildcard.
 * That took a fifth of the time of a request.
 */
export function redactSecrets<T>(value: T, depth = 0): T {
  if (typeof value !== 'object' || value === null || !isPlain(value)) return value;
  if (depth > MAX_DEPTH) return '...' as T;
  let copy: Record<string, unknown> | null = null;
  for (const name in value) {
    const entry = (value as Record<string, unknown>)[name];
    const redacted = SECRET_NAMES.test(name) ? '***' : redactSecrets(entry, depth + 1);
    if (redacted === entry) continue;
    copy ??= Object.assign(Array.isArray(value) ? [] : {}, value) as Record<string, unknown>;
    copy[name] = redacted;
  }
  return (copy ?? value) as T;
}

/** Instances of classes serialize themselves. pino's serializers turn errors into plain objects. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Array.isArray(value);
}
