/** The words of docs/evidence.md; its numbers come from the records. */

export const METHOD = `Does a learned noise distribution keep to a prompt better than the base, than FIND, and than every published search, on pictures that no search has seen? This page is written by
\`npm run evidence\` from the JSON lines in [evidence/](evidence/), which the commands below append to; \`npm test\` checks that both still agree.

The model is the embedded one (\`models/stickers\`), on two CPU cores. A run is a prompt, an optimizer, a seed and a budget in full denoisings. When its search is over, its distribution is judged on
*fresh draws*: noises of another random stream, through N(0, I) for the base and through the distribution for the learned pictures, with the same sampler. Parameters are each optimizer's defaults,
one set for all prompts and budgets; those of \`find\` are the paper's.

The prompts are in \`bench/evaluate/complex-prompts.json\`. \`npm run evaluate:prompts\` chose them: random captions of the model's world of which no training caption has all parts, and which
the base obeys in 20 to 80 % of 24 pictures as the unseen scorer sees it. Neither the reward nor an optimizer took part. A prompt that the base never misses has nothing to learn.`;

export const SCORERS = `\`stickers-reward\` is what searches climb. \`stickers-unseen\`, the unseen scorer, is of another architecture (a detector and rules, as in GenEval), loss, seed and training pictures,
and nothing is ever optimised for it; a picture *obeys* when it scores above 0, the threshold with the best balanced accuracy on labelled pictures. Held-out pairs of a right caption and
one with ONE error, and the share that each scorer puts in the right order; *rendered*: drawn scenes, *painted*: the same kind of scenes as the generator paints them
(\`tools/train/accuracy.py\`).`;

export const QUICK = `Six prompts, three seeds: \`npm run evaluate -- --suite quick --out docs/evidence\`.`;

export const BUDGETS = `The same six prompts with 50, 240 and 500 images: \`npm run evaluate -- --suite budgets --out docs/evidence\`.`;

export const PUBLISHED = `SNES from N(0, I) and zero-order search at 150 images: \`npm run evaluate -- --suite optimizers --out docs/evidence\`.`;

export const ABLATION = `Without its calibration network and without clipping: \`npm run evaluate -- --suite ablation --out docs/evidence\`.`;

export const FULL = `45 prompts, 10 fresh images each, 150 images of search: \`npm run evaluate -- --suite full --out docs/evidence\`. The paper's own figures, on Stable Diffusion and with ImageReward, are
0.05 for the base, -0.02 for DPOK in 920 minutes and 0.11 for FIND in 621 minutes; the model and the reward here are others, so compare lines, not tables. DPOK fine-tunes a LoRA of the
UNet by policy gradient with a KL term (\`tools/dpok\`), for 1.5 times FIND's mean time on each prompt, and its pictures are painted from the same fresh noises. Minutes are of one kind of
processor; \`-\`: of another one, where they would not compare.`;

export const CURVES = `The reward of each of FIND's 150 iterations, dashed, and smoothed with a Gaussian, as in the paper's appendix; the first four prompts.`;

export const LIMITS = `- One small model of coloured stickers. What holds on it need not hold on Stable Diffusion, whose rewards are noisier and whose noise has 16 times as many numbers;
  \`test/numerics/landscape.test.ts\` has the same order of optimizers on a Gaussian process with the correlations measured on Stable Diffusion 1.5, in 16,384 dimensions.
- The reward has two parts: a verdict, which saturates, and how plainly the named things are to be seen, which does not. Gains beyond the base's best pictures are gains of the second.
- Both scorers learned from labelled scenes of one renderer. They share its idea of what a dog is.
- The width of \`gp\`'s distribution (\`c\`) and its anchors (\`trust\`) were last chosen among some ten ways to read out the same searches, on the six prompts at 150 images and these fresh draws;
  the table at 150 images flatters it by that choice. The 45 prompts and the other budgets took no part.
- A picture that obeys for the judge may still be ugly.
- DPOK's authors train for hours on a GPU; here it has the time that the comparison gives it. On a processor that is enough for a few iterations only (the column *images*), so its line says what
  this much time buys, not what the method can reach.`;
