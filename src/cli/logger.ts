import { type DestinationStream, type Logger, pino } from 'pino';
import type { Config } from '../config/config.ts';
import { redactSecrets } from './redact-secrets.ts';

/**
 * Logs one JSON object a line to standard output; in a terminal, lines for people. Secrets are
 * redacted.
 * @param name value of the field `name` in every line
 */
export function createLogger(config: Config, name: string): Logger {
  const options = {
    name,
    level: config.logLevel,
    formatters: { log: (line: Record<string, unknown>) => redactSecrets(line) },
    serializers: { err: (error: Error) => redactSecrets({ ...pino.stdSerializers.err(error) }) },
  };
  if (!process.stdout.isTTY) return pino(options, bufferedOutput());
  return pino({
    ...options,
    transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', singleLine: true } },
  });
}

/**
 * Standard output, written once for all lines of one iteration of the event loop. A system call for
 * each line would take a tenth of the time of a short request. What is left is written when the
 * process exits, after an uncaught exception too.
 */
function bufferedOutput(): DestinationStream {
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
