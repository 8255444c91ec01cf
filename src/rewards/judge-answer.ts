import { isObject } from '../core/is-object.ts';

/** What a chat completion says about pictures. */
export interface JudgeAnswer {
  /** Scores in the order of the pictures, of the last complete JSON object; null without any. */
  readonly scores: readonly number[] | null;
  /** Text of the answer or of a refusal, without reasoning; empty if there is neither. */
  readonly text: string;
  /** Whether the server cut the answer at its limit of tokens (`finish_reason` is `length`). */
  readonly isCut: boolean;
  /** Tokens of the answer, reasoning included; null if the server does not say. */
  readonly tokens: number | null;
  /** Whether the model reasoned and gave no answer. */
  readonly isReasoningAlone: boolean;
}

/**
 * Reads the judgement out of an answer of `/chat/completions`.
 *
 * Reasoning is left out, wherever servers put it: in tags (`<think>`), in channels, in parts of the
 * content, in a field beside the content. In the rest the last complete JSON object with scores
 * counts: models repeat the format that they were asked for before they answer. Calls of tools
 * count as the answer of a message without one. An answer that was cut counts only if nothing
 * follows its object.
 * @param pictures number of pictures; one: `{"score": 7}`, several:
 *   `{"judgements": [{"score": 7}, ...]}`
 */
export function readJudgeAnswer(answer: unknown, pictures: number): JudgeAnswer {
  const { choices, usage } = asObject(answer);
  const choice = asObject(Array.isArray(choices) ? choices[0] : null);
  const message = asObject(choice.message);
  const isCut = choice.finish_reason === 'length';
  const tokens = asObject(usage).completion_tokens;

  const content = textOf(message.content);
  const reasoning = textOf(message.reasoning_content) || textOf(message.reasoning);
  const spoken = withoutReasoning(content).trim() || toolArguments(message) || textOf(message.refusal);
  // Servers that misread the end of the reasoning leave `content` empty. The text counts if it is
  // nothing but an object.
  const text = spoken || (isOneObject(reasoning) ? reasoning.trim() : '');
  return {
    scores: lastScores(text, pictures, isCut),
    text,
    isCut,
    tokens: typeof tokens === 'number' ? tokens : null,
    isReasoningAlone: text === '' && (content + reasoning).trim() !== '',
  };
}

function asObject(value: unknown): { readonly [key: string]: unknown } {
  return isObject(value) ? value : {};
}

/**
 * The text of a message's field: a string, a list of parts (those of reasoning are left out), or an
 * object.
 */
function textOf(field: unknown): string {
  if (typeof field === 'string') return field;
  if (Array.isArray(field)) return field.map(textOfPart).join('');
  return isObject(field) ? JSON.stringify(field) : '';
}

function textOfPart(part: unknown): string {
  if (typeof part === 'string') return part;
  const { type, text } = asObject(part);
  const isReasoning = typeof type === 'string' && /think|reason/i.test(type);
  return typeof text === 'string' && !isReasoning ? text : '';
}

/** Arguments of the calls of tools in a message, in order; empty if there are none. */
function toolArguments(message: { readonly [key: string]: unknown }): string {
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls : [];
  return [...calls.map((call) => asObject(call).function), message.function_call]
    .map((call) => textOf(asObject(call).arguments))
    .filter((text) => text !== '')
    .join('\n');
}

/** Opening and closing tags around reasoning, in the spellings of several families of models. */
const REASONING_TAG = new RegExp(
  '(?:<|\\[|\u25c1)(/?)(?:seed:)?' +
    '(?:think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad)' +
    '(?:>|\\]|\u25b7)',
  'gi',
);
const CHANNEL = '<|channel|>';

/**
 * The text outside of reasoning tags. Without an opening tag, all text before a closing one is
 * reasoning (chat templates that open the tag themselves); without a closing tag, all text after
 * an opening one is.
 */
function withoutReasoning(text: string): string {
  if (text.includes(CHANNEL)) return finalChannel(text);
  let kept = '';
  let depth = 0;
  let position = 0;
  for (const tag of text.matchAll(REASONING_TAG)) {
    const isClosing = tag[1] === '/';
    if (depth === 0) kept = isClosing ? '' : kept + text.slice(position, tag.index);
    depth = isClosing ? Math.max(0, depth - 1) : depth + 1;
    position = tag.index + tag[0].length;
  }
  return depth === 0 ? kept + text.slice(position) : kept;
}

/** The last message in the channel `final` of OpenAI's harmony format; empty if there is none. */
function finalChannel(text: string): string {
  const start = text.lastIndexOf(`${CHANNEL}final`);
  return start < 0 ? '' : text.slice(start + CHANNEL.length + 'final'.length);
}

/** Limits the work on a text of many braces, each of which may start an object. */
const MAX_OBJECT_STARTS = 200;
/** Text that may follow the object of an answer that was cut: the end of a code fence. */
const END_OF_OBJECT = /^[\s`]*$/;

/**
 * Scores of the last complete JSON object that has them; an object counts before those inside of
 * it. Prose, code fences and objects without scores are skipped.
 * @param atEnd whether nothing may follow the object
 */
function lastScores(text: string, pictures: number, atEnd: boolean): readonly number[] | null {
  let found: { readonly start: number; readonly end: number; readonly scores: readonly number[] } | null =
    null;
  let start = text.lastIndexOf('{');
  for (let tries = 0; start >= 0 && tries < MAX_OBJECT_STARTS; tries++) {
    const end = endOfObject(text, start);
    const object = parseObject(text.slice(start, end));
    if (object && found && end <= found.start) break;
    const scores = object && scoresIn(object, pictures);
    if (scores) found = { start, end, scores };
    start = start === 0 ? -1 : text.lastIndexOf('{', start - 1);
  }
  if (!found || (atEnd && !END_OF_OBJECT.test(text.slice(found.end)))) return null;
  return found.scores;
}

/** One number per picture; null unless the object has exactly these. */
function scoresIn(object: { readonly [key: string]: unknown }, pictures: number): number[] | null {
  const entries = Array.isArray(object.judgements) ? object.judgements : object.scores;
  const list: unknown = pictures === 1 && 'score' in object ? [object.score] : entries;
  if (!Array.isArray(list) || list.length !== pictures) return null;
  const scores = list.map((entry: unknown) => (isObject(entry) ? entry.score : entry));
  return scores.every((score) => typeof score === 'number') ? scores : null;
}

function isOneObject(text: string): boolean {
  const trimmed = text.trim();
  return trimmed.startsWith('{') && parseObject(trimmed) !== null;
}

/** The index after the brace that closes the one at `start`; braces in strings do not count. */
function endOfObject(text: string, start: number): number {
  let depth = 0;
  let inString = false;
  for (let i = start; i < text.length; i++) {
    const character = text[i];
    if (inString) {
      if (character === '\\') i++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === '{') depth++;
    else if (character === '}' && --depth === 0) return i + 1;
  }
  return text.length;
}

/** `text` starts with a brace, so valid JSON is an object. */
function parseObject(text: string): { readonly [key: string]: unknown } | null {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
