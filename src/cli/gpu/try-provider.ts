import { chooseDevice } from '../../engine/graphs/providers.ts';
import { runMain } from '../run-main.ts';

/**
 * A process of its own, because a provider's library may crash while it loads and LD_LIBRARY_PATH
 * has to be set at the start: `try-provider.ts PROVIDER DEVICE` runs a graph of one sum and prints
 * why that fails; nothing if it works.
 */
await runMain(async () => {
  const [provider, device] = process.argv.slice(2);
  const { passedOver } = await chooseDevice([provider, 'cpu'], Number(device));
  if (passedOver.length > 0) console.log(passedOver[0].replace(/^[\w:]+: /, ''));
});
