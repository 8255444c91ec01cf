/** What every reward has, whatever gives its scores. Higher is better. */
export interface RewardDescription {
  readonly name: string;
  /** Its folder; null: built in. */
  readonly path: string | null;
  /** Changes with its files; empty where nobody looked at them. */
  readonly signature: string;
  readonly title: string;
  readonly licence: string | null;
  readonly reads: readonly ('image' | 'text')[];
  /** Where scores usually lie. */
  readonly range: readonly [number, number] | null;
}
