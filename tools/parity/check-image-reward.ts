/**
 * Second half of check_image_reward.py: scores its pictures with findery's preprocessing, tokenizer
 * and graph, and prints the largest difference from the package.
 *
 *     node tools/parity/check-image-reward.ts FOLDER TOLERANCE
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { readGraphReward } from '../../src/bundles/graph-reward.ts';
import { RewardModel } from '../../src/engine/reward-model.ts';

const [, , folder, tolerance] = process.argv;
const cases = JSON.parse(await readFile(join(folder, 'cases.json'), 'utf8')) as {
  picture: string;
  prompt: string;
  score: number;
}[];
const path = join(folder, 'image-reward');
const card = JSON.parse(await readFile(join(path, 'findery.json'), 'utf8'));
const description = { name: 'image-reward', path, title: '', licence: null, range: null };
const bundle = await readGraphReward(path, card, description);
const options = { executionProviders: ['cpu'], threads: 2, batchSize: 1 };
const model = await RewardModel.open(bundle, options);
let worst = 0;
for (const { picture, prompt, score } of cases) {
  const { data, info } = await sharp(join(folder, picture))
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const raw = { width: info.width, height: info.height, pixels: new Uint8Array(data) };
  const [ours] = await model.score([raw], bundle.tokenizer?.encode(prompt) ?? null);
  worst = Math.max(worst, Math.abs(ours - score));
}
await model.release();
console.log(
  `${cases.length} pictures: largest difference from the package's score ${worst.toExponential(1)}`,
);
if (!(worst < Number(tolerance))) process.exitCode = 1;
