import { readConfig } from '../../config/config.ts';
import { UsageError } from '../arguments.ts';
import { restartWithLibraries } from '../gpu/library-folder.ts';
import { importCheckpoint } from '../import/import-checkpoint.ts';

export const summary = 'turns a checkpoint into a model that the service can use';
export const usage = `Usage: findery import FILE|FOLDER [--name NAME] [--python PROGRAM] [--wheels FOLDER]
                      [options of the importer]

Turns a Stable Diffusion checkpoint (.safetensors, .ckpt) or the folder of a diffusers pipeline into a
model in the first folder of FINDERY_MODELS, or in "models" in FINDERY_DATA, and checks it. The first
import installs the Python packages that it needs (torch, diffusers and others) into "python" in
FINDERY_DATA. Needs Python 3.10 or later; nothing is downloaded but those packages.

--name NAME        name of the model (default: the name of the file)
--python PROGRAM   a Python with the module venv (default: python3)
--wheels FOLDER    take the packages from a folder, for machines without a network

Every other option goes to the importer, such as
  --dtype fp16   --vae FILE   --text-encoder FILE   --lora FILE:0.8   --variant fp16
  --prediction-type v_prediction   --cuda
tools/export/README.md describes them.`;

/** Options of this command; each takes a value. */
const OWN_OPTIONS = ['--name', '--python', '--wheels'];

/** `findery import`. */
export async function run(args: readonly string[], stop: AbortSignal): Promise<number> {
  const [source, ...rest] = args;
  if (source === undefined || source.startsWith('-'))
    throw new UsageError('The file or folder to import comes first.');
  const { own, more } = splitOptions(rest);
  const config = readConfig(process.env);
  await restartWithLibraries(config);
  return importCheckpoint(config, {
    source,
    name: own.get('--name') ?? null,
    more,
    python: own.get('--python') ?? 'python3',
    wheels: own.get('--wheels') ?? null,
    stop,
    print: console.log,
  });
}

/** Separates the options of this command from those of the importer. */
function splitOptions(args: readonly string[]) {
  const own = new Map<string, string>();
  const more: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const [option, ...parts] = args[i].split('=');
    if (!OWN_OPTIONS.includes(option)) {
      more.push(args[i]);
      continue;
    }
    const value = parts.length > 0 ? parts.join('=') : args[++i];
    if (value === undefined || value === '') throw new UsageError(`${option} needs a value.`);
    own.set(option, value);
  }
  return { own, more };
}
