import * as backup from './commands/backup.ts';
import * as keep from './commands/keep.ts';
import * as keys from './commands/keys.ts';
import * as models from './commands/models.ts';
import * as reindex from './commands/reindex.ts';
import * as restore from './commands/restore.ts';
import * as sweep from './commands/sweep.ts';
import * as workers from './commands/workers.ts';
import { runMain } from './run-main.ts';
import { UsageError } from './usage-error.ts';

/** A part of the command line. */
export interface Command {
  /** One line. */
  readonly summary: string;
  readonly usage: string;
  /**
   * @returns the exit status
   * @throws UsageError for arguments that can't be understood; Error with what went wrong and what to do
   */
  run(args: readonly string[], stop: AbortSignal): Promise<number>;
}

const COMMANDS: { readonly [name: string]: Command } = {
  keys,
  models,
  workers,
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

findery <command> --help tells more. The service itself: npm start (all of it), npm run api, npm run worker.`;

/** `findery`: what is done on the machine that serves, rather than over HTTP. */
await runMain(async (stop) => {
  const [name, ...args] = process.argv.slice(2);
  const command = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name] : undefined;
  if (!command) {
    const isAsked = name === '--help' || name === '-h' || name === 'help';
    (isAsked ? console.log : console.error)(
      name === undefined || isAsked ? USAGE : `There is no command "${name}".\n\n${USAGE}`,
    );
    process.exitCode = isAsked ? 0 : 2;
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
