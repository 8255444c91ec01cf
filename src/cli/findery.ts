import { UsageError } from './arguments.ts';
import * as backup from './commands/backup.ts';
import * as doctor from './commands/doctor.ts';
import * as gpu from './commands/gpu.ts';
import * as imports from './commands/import.ts';
import * as keep from './commands/keep.ts';
import * as keys from './commands/keys.ts';
import * as models from './commands/models.ts';
import * as reindex from './commands/reindex.ts';
import * as restore from './commands/restore.ts';
import * as sweep from './commands/sweep.ts';
import * as workers from './commands/workers.ts';
import { runMain } from './run-main.ts';

/** A command: one file in `commands/`. */
export interface Command {
  /** One line, for the list of commands. */
  readonly summary: string;
  readonly usage: string;
  /**
   * @param args arguments after the name of the command
   * @param stop is aborted by SIGINT and SIGTERM
   * @returns exit status
   * @throws UsageError for arguments that can't be understood
   * @throws Error whose message says what went wrong and what to do
   */
  run(args: readonly string[], stop: AbortSignal): Promise<number>;
}

const COMMANDS: { readonly [name: string]: Command } = {
  keys,
  import: imports,
  models,
  workers,
  doctor,
  gpu,
  keep,
  sweep,
  reindex,
  backup,
  restore,
};
const USAGE = `Usage: findery <command>

${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  .join('\n')}

findery <command> --help describes a command. To start the service: npm start (API and worker), npm run api,
npm run worker.`;

/**
 * `findery`: administration on the machine of the service. Most commands use Redis and storage, not
 * the API.
 */
await runMain(async (stop) => {
  const [name, ...args] = process.argv.slice(2);
  const command = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name] : undefined;
  if (!command) {
    const isHelp = name === '--help' || name === '-h' || name === 'help';
    (isHelp ? console.log : console.error)(
      name === undefined || isHelp ? USAGE : `There is no command "${name}".\n\n${USAGE}`,
    );
    process.exitCode = isHelp ? 0 : 2;
    return;
  }
  if (args.includes('--help') || args.includes('-h')) {
    console.log(command.usage);
    return;
  }
  try {
    process.exitCode = await command.run(args, stop);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`findery: ${error.message}\n\n${command.usage}`);
    process.exitCode = 2;
  }
});
