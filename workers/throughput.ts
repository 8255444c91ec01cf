/** Images a second over the last minute of work; idle time does not count. */
export class Throughput {
  readonly #entries: { images: number; milliseconds: number }[] = [];

  add(images: number, milliseconds: number): void {
    this.#entries.push({ images, milliseconds });
    let total = this.#entries.reduce((sum, entry) => sum + entry.milliseconds, 0);
    while (this.#entries.length > 1 && total > 60_000) total -= this.#entries.shift()?.milliseconds ?? 0;
  }

  /** null before any work was done. */
  imagesPerSecond(): number | null {
    const milliseconds = this.#entries.reduce((sum, entry) => sum + entry.milliseconds, 0);
    const images = this.#entries.reduce((sum, entry) => sum + entry.images, 0);
    return milliseconds > 0 ? (images / milliseconds) * 1000 : null;
  }
}
