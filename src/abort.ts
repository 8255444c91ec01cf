/** What is to end with a signal, by the signal. */
const dependants = new WeakMap<AbortSignal, Set<AbortController>>();

/**
 * A controller that aborts with `source`, and may before. For a `source` that lives as long as the process: what `AbortSignal.any` makes of such
 * a one stays in memory for good once somebody has listened to it (Node 22), some kilobytes for every client that came and went.
 */
export function abortedWith(source: AbortSignal): AbortController {
  const controller = new AbortController();
  if (source.aborted) {
    controller.abort(source.reason);
    return controller;
  }
  const all = dependantsOf(source).add(controller);
  controller.signal.addEventListener('abort', () => all.delete(controller), { once: true });
  return controller;
}

function dependantsOf(source: AbortSignal): Set<AbortController> {
  const known = dependants.get(source);
  if (known) return known;
  const all = new Set<AbortController>();
  dependants.set(source, all);
  source.addEventListener('abort', () => {
    for (const controller of [...all]) controller.abort(source.reason);
  });
  return all;
}
