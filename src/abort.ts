/** The controllers that abort with a signal, by the signal. */
const dependants = new WeakMap<AbortSignal, Set<AbortController>>();

/**
 * Creates a controller that aborts with `source`, and that may abort earlier. It is for a `source`
 * that lives as long as the process: a signal of `AbortSignal.any` with such a source stays in
 * memory for good once it had a listener (Node 22), which is some kilobytes for every client.
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

/** The controllers of `source`, which abort all together through one listener. */
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
