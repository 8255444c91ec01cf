/**
 * A cache of values by object and text. The garbage collector drops an object's values with the
 * object.
 */
export class Memo<K extends object, V> {
  readonly #values = new WeakMap<K, Map<string, V>>();
  readonly #maxTexts: number;

  /** @param maxTexts texts per object; one more clears the object's values */
  constructor(maxTexts: number) {
    this.#maxTexts = maxTexts;
  }

  /** The value for object and text; `compute` makes it the first time. Errors are not cached. */
  get(object: K, text: string, compute: () => V): V {
    const values = this.#values.get(object) ?? new Map<string, V>();
    this.#values.set(object, values);
    const known = values.get(text);
    if (known !== undefined || values.has(text)) return known as V;
    const value = compute();
    if (values.size >= this.#maxTexts) values.clear();
    values.set(text, value);
    return value;
  }
}
