import { type DestinationStream, type Logger, pino } from 'pino';
import type { Config } from '../config/config.ts';
import { censor } from './censor.ts';

/** Logs one JSON object a line to standard output; in a terminal, lines for people. */
export function createLogger(config: Config, name: string): Logger {
  const options = {
    name,
    level: config.logLevel,
    formatters: { log: (line: Record<string, unknown>) => censor(line) },
    serializers: { err: (error: Error) => censor({ ...pino.stdSerializers.err(error) }) },
  };
  if (!process.stdout.isTTY) return pino(options, writeByTurns());
  return pino({
    ...options,
    transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', singleLine: true } },
  });
}

/**
 * Standard output, written once for all lines of a turn of the event loop, before the next turn begins: a call of the system for each line would
 * be a tenth of what a short request costs. A process that ends, also by an exception, writes what is left.
 */
function writeByTurns(): DestinationStream {
  const output = pino.destination({ dest: 1, sync: true });
  let lines = '';
  const flush = () => {
    const text = lines;
    lines = '';
    if (text !== '') output.write(text);
  };
  process.on('exit', () => {
    flush();
    output.flushSync();
  });
  return {
    write(line) {
      if (lines === '') setImmediate(flush);
      lines += line;
    },
  };
}
