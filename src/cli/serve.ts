import { readConfig } from '../config/config.ts';
import { limitHeapGrowth } from './heap.ts';
import { createLogger } from './logger.ts';
import { aborted, runMain } from './run-main.ts';
import { startService } from './service.ts';

/** `npm start`: API and worker, with a private Redis if REDIS_URL is not set. */
await runMain(async (stop) => {
  limitHeapGrowth();
  const config = readConfig(process.env);
  const logger = createLogger(config, 'findery');
  const service = await startService({ config, logger, print: (line) => logger.info(line), stop });
  try {
    await Promise.race([service.workerReady, aborted(stop)]);
    if (!stop.aborted) logger.info({ url: service.url, docs: `${service.url}/docs` }, 'findery is ready');
    await aborted(stop);
  } finally {
    await service.close();
  }
});
