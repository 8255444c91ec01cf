import { parseArgs } from 'node:util';
import { readConfig } from '../../config/config.ts';
import { addBundle } from '../models/add.ts';
import { checkBundle } from '../models/check.ts';
import { listBundles } from '../models/list.ts';
import { removeBundle } from '../models/remove.ts';
import { UsageError } from '../usage-error.ts';

export const summary = 'adds, lists, checks and removes models and rewards';
export const usage = `Usage: findery models list [--json]
       findery models check NAME|PATH
       findery models add PATH [--name NAME] [--unchecked]
       findery models remove NAME [--yes]

list     what is installed, and what is wrong with the rest
check    opens every graph of a bundle and makes a tiny picture (a reward scores one), and says in plain words what is wrong
add      checks a bundle and copies it to the first folder of FINDERY_MODELS, or to "models" in FINDERY_DATA; services see it at once
remove   deletes a bundle from there; the embedded ones stay

A bundle is a folder of ONNX graphs, as tools/export or optimum's exporter write it. A checkpoint (.safetensors, .ckpt) is turned into one by
  python tools/export/import_checkpoint.py CHECKPOINT FOLDER/NAME`;

const OPTIONS = {
  json: { type: 'boolean' },
  name: { type: 'string' },
  unchecked: { type: 'boolean' },
  yes: { type: 'boolean' },
} as const;

const TAKES: {
  readonly [action: string]: { readonly operand: boolean; readonly options: readonly string[] };
} = {
  list: { operand: false, options: ['json'] },
  check: { operand: true, options: [] },
  add: { operand: true, options: ['name', 'unchecked'] },
  remove: { operand: true, options: ['yes'] },
};

export async function run(args: readonly string[], stop: AbortSignal): Promise<number> {
  const { action, operand, values } = parse(args);
  const config = readConfig(process.env);
  switch (action) {
    case 'check':
      return checkBundle(config, operand, console.log);
    case 'add':
      return addBundle(
        config,
        operand,
        { name: values.name, isChecked: !values.unchecked, stop },
        console.log,
      );
    case 'remove':
      return removeBundle(config, operand, values.yes ?? false, console.log);
    default:
      return listBundles(config, values.json ?? false, console.log);
  }
}

function parse(args: readonly string[]) {
  let parsed: ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>>;
  try {
    parsed = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { positionals, values } = parsed;
  const [action = '', operand = ''] = positionals;
  if (!Object.hasOwn(TAKES, action))
    throw new UsageError(
      action === ''
        ? 'Say what is to be done: list, check, add or remove.'
        : `There is no "models ${action}".`,
    );
  const { operand: wantsOperand, options } = TAKES[action];
  if (wantsOperand && operand === '') throw new UsageError(`models ${action} needs a name or a path.`);
  const other = Object.keys(values).find((option) => !options.includes(option));
  if (other) throw new UsageError(`models ${action} takes no --${other}.`);
  if (positionals.length > (wantsOperand ? 2 : 1))
    throw new UsageError(`"${positionals.at(-1)}" is one word too many.`);
  return { action, operand, values };
}
