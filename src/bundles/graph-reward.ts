import { join } from 'node:path';
import { BundleError, exists, type Json, readJson } from './files.ts';
import { findGraph } from './graph-file.ts';
import { type Preprocessing, readPreprocessing } from './preprocessing.ts';
import { type CardDescription, type RewardDescription, readCardNumber } from './reward-card.ts';
import { readTokenizer, type Tokenizer } from './tokenizer.ts';

/** How the outputs of a reward's graph become a score: score = (raw - mean) / std. */
export type Scoring = {
  /** Mean that is subtracted, as ImageReward does; 0 by default. */
  readonly mean: number;
  /** Standard deviation to divide by, not 0; 1 by default. */
  readonly std: number;
} & (
  | {
      /** raw is the output `reward`. */
      readonly type: 'output';
    }
  | {
      /**
       * raw = scale * cos(image_embeds, text_embeds), from a CLIP graph. Published scales:
       * - CLIP score: 100 (Hessel et al. 2021, arXiv 2104.08718)
       * - PickScore: its exp(logit_scale), about 100 (Kirstain et al. 2023, arXiv 2305.01569)
       * - HPSv2: 1 (Wu et al. 2023, arXiv 2306.09341)
       */
      readonly type: 'cosine';
      readonly scale: number;
    }
);

/** A reward that is an ONNX graph; the engine runs it. */
export interface GraphReward extends RewardDescription {
  readonly type: 'graph';
  readonly preprocessing: Preprocessing;
  /** null if the reward reads no text. */
  readonly tokenizer: Tokenizer | null;
  /** Path of the graph. */
  readonly graph: string;
  readonly scoring: Scoring;
}

/** A folder with one of these has a tokenizer. */
const TOKENIZER_FILES = ['vocab.json', 'vocab.txt', 'tokenizer.json'];

/**
 * Reads the folder of a reward that is a graph. Without `reads` in its card, the reward reads text
 * if it has a tokenizer.
 * @throws BundleError if the folder cannot be used
 */
export async function readGraphReward(
  path: string,
  card: Json,
  description: CardDescription,
): Promise<GraphReward> {
  const graph = await findGraph(path, 'model.onnx');
  const preprocessing = readPreprocessing(await readJson(path, 'preprocessor_config.json'));
  const declared: readonly unknown[] | null = Array.isArray(card.reads) ? card.reads : null;
  const present = await Promise.all(TOKENIZER_FILES.map((name) => exists(join(path, name))));
  const readsText = declared ? declared.includes('text') : present.includes(true);
  return {
    ...description,
    type: 'graph',
    reads: readsText ? ['image', 'text'] : ['image'],
    preprocessing,
    tokenizer: readsText ? await readTokenizer(path) : null,
    graph,
    scoring: readScoring(card),
  };
}

function readScoring(card: Json): Scoring {
  const mean = readCardNumber(card.mean, 'mean', { fallback: 0 });
  const std = readCardNumber(card.std, 'std', { fallback: 1 });
  if (std === 0) throw new BundleError('findery.json has std 0; it takes a number other than 0');
  const score = (card.score ?? { type: 'output' }) as Json;
  if (score.type === 'output') return { type: 'output', mean, std };
  if (score.type === 'cosine')
    return {
      type: 'cosine',
      scale: readCardNumber(score.scale, 'score.scale', { fallback: 100 }),
      mean,
      std,
    };
  throw new BundleError(
    `findery.json has score ${JSON.stringify(card.score)}; ` +
      'it takes {"type": "output"} or {"type": "cosine", "scale": 100}',
  );
}
