import { setFlagsFromString } from 'node:v8';

/**
 * Makes V8 collect the heap when it has grown to twice the live objects of the last collection. By
 * default V8 waits until up to four times, and longer after busy periods: an API then needs half as
 * much memory again, and a sweep or a burst of requests raises its memory for good.
 */
export function limitHeapGrowth(): void {
  setFlagsFromString('--heap-growing-percent=100');
}
