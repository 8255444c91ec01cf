import { setFlagsFromString } from 'node:v8';

/**
 * Has the whole heap collected as soon as it is twice what lived in it the last time. V8 would wait until it is up to four times that, the more
 * the busier a process once was: an API takes half as much memory again for rubbish, and a sweep or a burst of requests shows as a step that stays.
 */
export function boundHeap(): void {
  setFlagsFromString('--heap-growing-percent=100');
}
