/** The prose of docs/evidence.md. Its numbers come from the records. */

/**
 * Joins lines of prose, so that the source stays narrow and the page gets one line for each
 * paragraph.
 */
const paragraph = (...lines: readonly string[]): string => lines.join(' ');

export const METHOD = [
  paragraph(
    'Does a learned noise distribution follow a prompt better than the base N(0, I), than FIND, and',
    'than other published searches, on pictures that no search has seen? `npm run evidence` writes this',
    'page and the reports in [evidence/](evidence/) from the JSON lines there. The commands below append',
    'to them. A test checks that page, reports and records agree.',
  ),
  paragraph(
    'The model is the embedded one (`models/stickers`), on two CPU cores. A *run* is one prompt, one',
    'optimizer, one seed and one budget, counted in full denoisings. After its search, a run is judged on',
    '*held-out samples*: noises from a random stream that the search does not use, once through N(0, I)',
    '(the base) and once through the learned distribution, with the same sampler. Every optimizer',
    'uses its default parameters for all prompts and budgets; those of `find` are the paper’s.',
  ),
  paragraph(
    'The prompts are in `bench/evaluate/complex-prompts.json`. `npm run evaluate:prompts` chose them from',
    'random captions of the model’s world: no training caption contains all parts of a prompt, and the',
    'base obeys it in 20 to 80 % of 24 pictures, as the unseen scorer judges. Neither the reward nor an',
    'optimizer took part in the choice. A prompt that the base always obeys leaves nothing to learn.',
  ),
].join('\n\n');

export const SCORERS = [
  paragraph(
    'Searches optimize `stickers-reward`. Nothing is ever optimized for `stickers-unseen`, the unseen',
    'scorer. It differs from the reward in architecture (a detector and rules, as in GenEval), loss, seed',
    'and training pictures. A picture *obeys* the prompt if it scores above 0, the threshold with the best',
    'balanced accuracy on labelled pictures.',
  ),
  paragraph(
    'The tables show how often a scorer orders a held-out pair correctly: the right caption against one',
    'with a single error. *Rendered* pictures are drawn scenes; *generated* pictures are the same kind of',
    'scenes made by the model (`tools/train/accuracy.py`).',
  ),
].join('\n\n');

export const AT_150_IMAGES =
  'Six prompts, three seeds: `npm run evaluate -- --suite quick --out docs/evidence`.';

export const OTHER_BUDGETS =
  'The same six prompts with 50, 240 and 500 images: ' +
  '`npm run evaluate -- --suite budgets --out docs/evidence`.';

export const OTHER_SEARCHES =
  'SNES from N(0, I) and zero-order search at 150 images: ' +
  '`npm run evaluate -- --suite optimizers --out docs/evidence`.';

export const FIND_PARTS =
  'FIND without its calibration network and without clipping: ' +
  '`npm run evaluate -- --suite ablation --out docs/evidence`.';

export const PAPER_COMPARISON = [
  paragraph(
    '45 prompts, 10 held-out samples each, 150 images of search:',
    '`npm run evaluate -- --suite full --out docs/evidence`. The paper reports, for Stable Diffusion with',
    'ImageReward: 0.05 for the base, -0.02 for DPOK in 920 minutes, and 0.11 for FIND in 621 minutes.',
    'Model and reward differ here, so compare the order of the methods and not their values.',
  ),
  paragraph(
    'DPOK fine-tunes a LoRA of the UNet by policy gradient with a KL term (`tools/dpok`), for 1.5 times the',
    'mean time of FIND on each prompt. Its pictures use the same held-out noises. Minutes of different',
    'processors cannot be compared; `-` marks runs on another processor.',
  ),
].join('\n\n');

export const CURVES =
  'The reward of each of FIND’s 150 iterations: dashed as measured, solid smoothed with a Gaussian, as in ' +
  'the paper’s appendix. The first four prompts.';

export const LIMITS = [
  paragraph(
    '- The model is small and draws coloured stickers. Results on it may not hold on Stable Diffusion, whose',
    'rewards are noisier and whose noise has 16 times as many numbers. `test/numerics/landscape.test.ts`',
    'finds the same order of the optimizers on a Gaussian process in 16,384 dimensions, with the',
    'correlations that were measured on Stable Diffusion 1.5.',
  ),
  paragraph(
    '- The reward has two parts: whether the picture obeys, which saturates, and how clearly the named',
    'things are visible, which does not. Gains beyond the best pictures of the base are gains of the second',
    'part.',
  ),
  paragraph(
    '- Both scorers learned from labelled scenes of one renderer. They share its notion of what a dog looks',
    'like.',
  ),
  paragraph(
    '- The width of the distribution of `gp` (`c`) and its anchors (`trust`) were last chosen among about',
    'ten ways to read out the same searches, on the six prompts at 150 images and these held-out',
    'samples. This choice flatters `gp` in the table at 150 images. The 45 prompts and the other budgets',
    'took no part.',
  ),
  '- A picture that obeys, as the unseen scorer judges, may still be ugly.',
  paragraph(
    '- The authors of DPOK train for hours on a GPU. The time of this comparison suffices for a few',
    'iterations on a CPU (column *images*). Its row shows what this much time buys, not what the method can',
    'reach.',
  ),
].join('\n');
