import { type Logger, pino } from 'pino';
import type { Config } from '../config.ts';

/** Logs one JSON object a line to standard output; in a terminal, lines for people. */
export function createLogger(config: Config, name: string): Logger {
  const options = { name, level: config.logLevel };
  if (!process.stdout.isTTY) return pino(options);
  return pino({
    ...options,
    transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', singleLine: true } },
  });
}
