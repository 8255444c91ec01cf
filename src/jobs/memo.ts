/** What was worked out for an object and a text before; the object's end is the end of it. */
export class Memo<K extends object, V> {
  readonly #known = new WeakMap<K, Map<string, V>>();
  readonly #most: number;

  /** @param most texts that are remembered for an object; then all of its are forgotten, and it begins anew */
  constructor(most: number) {
    this.#most = most;
  }

  /** The value for both; `work` makes it the first time. What throws is not remembered. */
  of(object: K, text: string, work: () => V): V {
    const values = this.#known.get(object) ?? new Map<string, V>();
    this.#known.set(object, values);
    const known = values.get(text);
    if (known !== undefined || values.has(text)) return known as V;
    const value = work();
    if (values.size >= this.#most) values.clear();
    values.set(text, value);
    return value;
  }
}
