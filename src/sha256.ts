import { hash } from 'node:crypto';

/** Hexadecimal SHA-256, of a text in UTF-8. */
export function sha256Of(bytes: Uint8Array | string): string {
  return hash('sha256', bytes);
}
