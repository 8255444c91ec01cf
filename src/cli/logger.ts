import { type Logger, pino } from 'pino';
import type { Config } from '../config.ts';

/** Where in what is logged something may stand that nobody is to read there. */
const SECRETS = ['authorization', 'secret', 'password', 'apiKey'].flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);

/** Logs one JSON object a line to standard output; in a terminal, lines for people. */
export function createLogger(config: Config, name: string): Logger {
  const options = { name, level: config.logLevel, redact: { paths: SECRETS, censor: '***' } };
  if (!process.stdout.isTTY) return pino(options);
  return pino({
    ...options,
    transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', singleLine: true } },
  });
}
