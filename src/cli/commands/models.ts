import { readConfig } from '../../config/config.ts';
import { parseArguments, UsageError } from '../arguments.ts';
import { restartWithLibraries } from '../gpu/library-folder.ts';
import { addBundle } from '../models/add.ts';
import { checkBundle } from '../models/check.ts';
import { listBundles } from '../models/list.ts';
import { removeBundle } from '../models/remove.ts';

export const summary = 'adds, lists, checks and removes models and rewards';
export const usage = `Usage: findery models list [--json]
       findery models check NAME|PATH
       findery models add PATH [--name NAME] [--unchecked]
       findery models remove NAME [--yes]

list     lists the installed models and rewards, and says what is wrong with damaged ones
check    opens every graph of a bundle and makes a small picture with it (or scores one with a reward)
add      checks a bundle and copies it to the first folder of FINDERY_MODELS, or to "models" in
         FINDERY_DATA; running services can use it at once
remove   deletes a bundle from there; the embedded bundles cannot be removed

--name NAME   name of the added bundle (default: the name of its folder)
--unchecked   add without the check
--yes         remove without a question

A bundle is a folder of ONNX graphs, as findery import and optimum's exporter write it.`;

const OPTIONS = {
  json: { type: 'boolean' },
  name: { type: 'string' },
  unchecked: { type: 'boolean' },
  yes: { type: 'boolean' },
} as const;

/** Whether an action takes a name or path, and which options. */
const ACTIONS: {
  readonly [action: string]: { readonly operand: boolean; readonly options: readonly string[] };
} = {
  list: { operand: false, options: ['json'] },
  check: { operand: true, options: [] },
  add: { operand: true, options: ['name', 'unchecked'] },
  remove: { operand: true, options: ['yes'] },
};

/** `findery models`. */
export async function run(args: readonly string[], stop: AbortSignal): Promise<number> {
  const { action, operand, values } = parse(args);
  const config = readConfig(process.env);
  if (action === 'check' || action === 'add') await restartWithLibraries(config);
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
  const { positionals, values } = parseArguments(args, { options: OPTIONS, allowPositionals: true });
  const [action = '', operand = ''] = positionals;
  if (!Object.hasOwn(ACTIONS, action))
    throw new UsageError(
      action === ''
        ? 'An action is missing: list, check, add or remove.'
        : `There is no "models ${action}"; it takes list, check, add or remove.`,
    );
  const { operand: wantsOperand, options } = ACTIONS[action];
  if (wantsOperand && operand === '') throw new UsageError(`models ${action} needs a name or a path.`);
  const other = Object.keys(values).find((option) => !options.includes(option));
  if (other) throw new UsageError(`models ${action} takes no --${other}.`);
  if (positionals.length > (wantsOperand ? 2 : 1))
    throw new UsageError(`"${positionals.at(-1)}" is not expected here.`);
  return { action, operand, values };
}
