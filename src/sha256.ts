import { hash } from 'node:crypto';

/** Computes the SHA-256 of bytes, or of a string in UTF-8, in hexadecimal. */
export function sha256Of(bytes: Uint8Array | string): string {
  return hash('sha256', bytes);
}
