/** A bundle that can't be used; the message names the file, what is wrong with it and what to do. */
export class BundleError extends Error {
  override readonly name = 'BundleError';
}
