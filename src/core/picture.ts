/** An 8-bit RGB picture, row by row. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** width * height * 3 bytes. */
  readonly pixels: Uint8Array;
}
