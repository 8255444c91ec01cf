import { join } from 'node:path';
import { BundleError, exists, graphPath, type Json, readJson } from './files.ts';
import { type Preprocessing, readPreprocessing } from './preprocessing.ts';
import type { RewardDescription } from './reward-description.ts';
import { readTokenizer, type Tokenizer } from './tokenizer.ts';

/** How the graph's outputs become a score. */
export type Scoring = {
  /** score = (raw - mean) / std, as ImageReward normalises. */
  readonly mean: number;
  readonly std: number;
} & (
  | { readonly type: 'output' }
  /**
   * raw = scale * cos(image_embeds, text_embeds) of a CLIP graph: CLIP score (100; Hessel et al. 2021, arXiv 2104.08718), PickScore (its
   * exp(logit_scale), about 100; Kirstain et al. 2023, arXiv 2305.01569), HPSv2 (1; Wu et al. 2023, arXiv 2306.09341).
   */
  | { readonly type: 'cosine'; readonly scale: number }
);

/** A reward that is an ONNX graph. */
export interface GraphReward extends RewardDescription {
  readonly type: 'graph';
  readonly preprocessing: Preprocessing;
  /** null: it reads no text. */
  readonly tokenizer: Tokenizer | null;
  readonly graph: string;
  readonly scoring: Scoring;
}

const TOKENIZER_FILES = ['vocab.json', 'vocab.txt', 'tokenizer.json'];

/** @throws BundleError when the folder can't be used */
export async function readGraphReward(
  path: string,
  card: Json,
  description: Omit<RewardDescription, 'reads'>,
): Promise<GraphReward> {
  const graph = await graphPath(path, 'model.onnx');
  const preprocessing = readPreprocessing(await readJson(path, 'preprocessor_config.json'));
  const declared = Array.isArray(card.reads) ? (card.reads as ('image' | 'text')[]) : null;
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
  const number = (value: unknown, key: string, fallback: number) => {
    if (value === undefined || value === null) return fallback;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw new BundleError(`findery.json has ${key} ${JSON.stringify(value)}; it takes a number`);
  };
  const mean = number(card.mean, 'mean', 0);
  const std = number(card.std, 'std', 1);
  if (std === 0)
    throw new BundleError('findery.json has std 0; it takes a number that scores can be divided by');
  const given = (card.score ?? { type: 'output' }) as Json;
  if (given.type === 'output') return { type: 'output', mean, std };
  if (given.type === 'cosine')
    return { type: 'cosine', scale: number(given.scale, 'score.scale', 100), mean, std };
  throw new BundleError(
    `findery.json has score ${JSON.stringify(card.score)}; it takes {"type": "output"} or {"type": "cosine", "scale": 100}`,
  );
}
