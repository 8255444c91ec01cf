import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { readCatalog } from '../../src/bundles/catalog.ts';
import { readConfig } from '../../src/config/config.ts';
import { STREAMS } from '../../src/core/noise.ts';
import { Engine } from '../../src/engine/engine.ts';
import { chooseModel, chooseTerms } from '../../src/jobs/choose-bundles.ts';
import { resolveSampler } from '../../src/jobs/resolve-sampler.ts';
import { uniform } from '../../src/numerics/normal.ts';
import { graphRewards, withRewards } from '../../src/rewards/weighted-rewards.ts';

/**
 * `npm run evaluate:prompts -- CAPTIONS`: chooses the prompts of the suites and writes
 * complex-prompts.json.
 *
 * Generates random captions of the embedded model's world and takes the first ones of each kind for
 * which
 *
 * - no training caption (the lines of the file CAPTIONS) has all parts of the prompt;
 * - the base obeys the prompt in 20 to 80 % of SAMPLES pictures, as the unseen scorer judges: from
 *   a prompt that the base always or never obeys there is nothing to learn.
 *
 * Neither an optimizer nor the reward takes part in the choice.
 */
const SEED = 45;
const SAMPLES = 24;
const RANGE = [0.2, 0.8] as const;
const QUOTAS = { relation: 17, colours: 13, place: 11, count: 10 } as const;
/** Prompts of each kind that go to the six, before the others. */
const OF_THE_SIX = { relation: 2, colours: 1, place: 2, count: 1 } as const;
type Kind = keyof typeof QUOTAS;

const OBJECTS = (
  'dog cat panda rabbit fish bird elephant frog pig bear penguin horse ' +
  'car bus rocket boat house tree apple vase book balloon heart star'
).split(' ');
const COLOURS = 'red green blue yellow orange purple pink brown white black gray'.split(' ');
const PLACES = [
  'on the grass',
  'on the beach',
  'in the snow',
  'at night',
  'on the moon',
  'in the desert',
  'underwater',
  'at sunset',
];
const RELATIONS = ['to the left of', 'to the right of', 'above', 'below'];
const NUMBERS = ['two', 'three', 'four', 'five'];

const article = (words: string) => `${/^[aeiou]/.test(words) ? 'an' : 'a'} ${words}`;
const plural = (name: string) => (name === 'fish' ? 'fish' : name === 'bus' ? 'buses' : `${name}s`);

/** A prompt that may be chosen. */
interface Candidate {
  readonly prompt: string;
  /** No training caption may contain all of these. */
  readonly parts: readonly string[];
}

/** The candidate of a kind with this index. Depends only on SEED. */
function candidate(kind: Kind, index: number): Candidate {
  let lane = 0;
  const key = { seed: SEED, stream: STREAMS.samples, index: index * 8 + Object.keys(QUOTAS).indexOf(kind) };
  const pick = <T>(choices: readonly T[]): T => choices[Math.floor(uniform(key, lane++) * choices.length)];
  const first = pick(OBJECTS);
  const second = pick(OBJECTS.filter((name) => name !== first));
  const colour = pick(COLOURS);
  const colours = [colour, pick(COLOURS.filter((name) => name !== colour))];
  const things = [`${colours[0]} ${first}`, `${colours[1]} ${second}`];
  const [one, other] = things.map(article);
  switch (kind) {
    case 'relation':
      return { prompt: `${one} ${pick(RELATIONS)} ${other}`, parts: things };
    case 'colours':
      return { prompt: `${one} and ${other}`, parts: things };
    case 'place':
      return { prompt: `${one} and ${other} ${pick(PLACES)}`, parts: things };
    case 'count': {
      const parts = [`${pick(NUMBERS)} ${colour} ${plural(first)}`, pick(PLACES)];
      return { prompt: parts.join(' '), parts };
    }
  }
}

const file = process.argv[2];
if (!file)
  throw new Error(
    'Name the file of the training captions of the model; tools/train/README.md describes how to write it.',
  );
const training = (await readFile(file, 'utf8')).split('\n');
const config = readConfig(process.env);
const catalog = await readCatalog(config.modelFolders.filter((folder) => existsSync(folder)));
const model = chooseModel(catalog, undefined, 'model');
const terms = chooseTerms(catalog, 'stickers-unseen', 'unseen');
const sampler = resolveSampler(model, {}, 'sampler');
const engine = await Engine.start({
  executionProviders: [...config.executionProviders],
  threads: config.threads,
  batchSize: config.batchSize,
});
await engine.open(model, graphRewards(terms), { warmUp: true });

const six: string[] = [];
const prompts: { prompt: string; kind: Kind; baseObeys: number }[] = [];
let tried = 0;
for (const kind of Object.keys(QUOTAS) as Kind[]) {
  let found = 0;
  for (let index = 0; found < QUOTAS[kind]; index++) {
    const { prompt, parts } = candidate(kind, index);
    tried++;
    if (training.some((caption) => parts.every((part) => caption.includes(part)))) continue;
    const pipeline = await engine.pipeline({
      model,
      rewards: graphRewards(terms),
      prompt,
      negativePrompt: '',
      sampler,
    });
    const noises = Array.from({ length: SAMPLES }, (_, i) => ({
      key: { seed: SEED, stream: STREAMS.samples, index: 1_000_000 + i },
    }));
    const scores = await withRewards(pipeline, terms, prompt).evaluate(noises, {
      reward: true,
      pictures: false,
    });
    const baseObeys = scores.filter(({ reward }) => (reward as number) > 0).length / SAMPLES;
    const isChosen = baseObeys >= RANGE[0] && baseObeys <= RANGE[1];
    console.log(`${isChosen ? '*' : ' '} ${baseObeys.toFixed(2)} ${prompt}`);
    if (!isChosen) continue;
    if (found++ < OF_THE_SIX[kind]) six.push(prompt);
    else prompts.push({ prompt, kind, baseObeys: Math.round(baseObeys * 1000) / 1000 });
  }
}
await engine.close();
const chosen =
  `the first of each kind whose base obeys in ${100 * RANGE[0]} to ${100 * RANGE[1]} % of ${SAMPLES} ` +
  `pictures and whose parts no training caption has together, of ${tried} candidates; see choose-prompts.ts`;
await writeFile(
  fileURLToPath(new URL('complex-prompts.json', import.meta.url)),
  `${JSON.stringify({ chosen, six, prompts }, null, 2)}\n`,
);
