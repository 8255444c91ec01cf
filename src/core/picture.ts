/** An 8-bit RGB picture. */
export interface Picture {
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  /** width * height * 3 bytes, row by row from the top left. */
  readonly pixels: Uint8Array;
}
