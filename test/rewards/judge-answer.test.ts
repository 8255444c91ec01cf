import { describe, expect, it } from 'vitest';
import { readJudgeAnswer } from '../../src/rewards/judge-answer.ts';

const complete = (message: object, choice: object = {}, more: object = {}) => ({
  choices: [{ message, ...choice }],
  ...more,
});
const scoreOf = (message: object, choice: object = {}) =>
  readJudgeAnswer(complete(message, choice), 1).scores?.[0] ?? null;

const PERFECT = '{"score": 10}';
const ANSWER = '{"reason": "no vase", "score": 2}';

describe('reasoning is left out', () => {
  it.each([
    `<think>The scale: ${PERFECT} would be perfect</think>${ANSWER}`,
    `${ANSWER}\n<think>or ${PERFECT}?</think>`,
    `The scale: ${PERFECT} would be perfect</think>\n${ANSWER}`,
    `<thinking>a <think>${PERFECT}</think> b ${PERFECT}</thinking>${ANSWER}`,
    `<THINK>${PERFECT}</THINK>${ANSWER}<reasoning>${PERFECT}`,
    `[THINK]${PERFECT}[/THINK]${ANSWER}`,
    `\u25c1think\u25b7${PERFECT}\u25c1/think\u25b7${ANSWER}`,
    `<seed:think>${PERFECT}</seed:think>${ANSWER}`,
    `<|channel|>analysis<|message|>${PERFECT}<|end|><|start|>assistant<|channel|>final<|message|>${ANSWER}`,
  ])('in %j', (content) => {
    expect(scoreOf({ content })).toBe(2);
  });

  it.each([
    [
      [
        { type: 'thinking', thinking: PERFECT },
        { type: 'text', text: ANSWER },
      ],
    ],
    [
      [
        { type: 'text', text: ANSWER },
        { type: 'reasoning', text: PERFECT },
      ],
    ],
    [['{"reason": "no vase",', { type: 'output_text', text: ' "score": 2}' }]],
  ])('in the parts %j', (content) => {
    expect(scoreOf({ content })).toBe(2);
  });

  it('in a field beside the content', () => {
    expect(scoreOf({ reasoning_content: PERFECT, content: ANSWER })).toBe(2);
    expect(scoreOf({ reasoning: PERFECT, content: ANSWER })).toBe(2);
  });

  it('unless the whole answer landed in that field', () => {
    expect(scoreOf({ reasoning_content: ` ${ANSWER}\n`, content: null })).toBe(2);
    const thoughts = `It could be ${PERFECT}`;
    for (const message of [
      { reasoning_content: thoughts, content: null },
      { reasoning: thoughts, content: '' },
      { content: `<think>${thoughts}` },
      { content: `<|channel|>analysis<|message|>${thoughts}` },
    ])
      expect(readJudgeAnswer(complete(message), 1)).toMatchObject({ scores: null, isReasoningAlone: true });
  });
});

describe('the last complete object counts', () => {
  it.each([
    [`The format is {"reason":"...","score":"<number>"}. My answer: ${ANSWER}`, 2],
    [`The format is ${PERFECT}. My answer: ${ANSWER}`, 2],
    [`${ANSWER} in the format {"reason": "...", "score": "<number>"}`, 2],
    [`${ANSWER} and {"confidence": 0.9}, {not JSON}, {`, 2],
    ['{"score": 3, "criteria": {"score": 9}}', 3],
    ['{"judgement": {"score": 3, "reason": ""}}', 3],
    ['{"reason": "{\\"score\\": 10} would be }{ perfect", "score": 2}', 2],
    ['```json\n{"score": 2}\n```', 2],
    ['{"score": "2"}', null],
    ['{"score": true}', null],
    ["{'score': 2}", null],
    ['2', null],
    ['', null],
  ])('in %j', (content, score) => {
    expect(scoreOf({ content })).toBe(score);
  });

  it('in an object in place of text, in calls of tools, and in a refusal', () => {
    expect(scoreOf({ content: { score: 2 } })).toBe(2);
    const call = (value: unknown) => ({ function: { name: 'judge', arguments: value } });
    expect(scoreOf({ content: null, tool_calls: [call(PERFECT), call(ANSWER)] })).toBe(2);
    expect(scoreOf({ content: '', tool_calls: [call({ score: 2 })] })).toBe(2);
    expect(scoreOf({ function_call: { arguments: ANSWER } })).toBe(2);
    expect(readJudgeAnswer(complete({ content: null, refusal: 'No.' }), 1)).toMatchObject({
      scores: null,
      text: 'No.',
    });
  });

  it('with one entry for each picture', () => {
    const read = (content: unknown, pictures: number) =>
      readJudgeAnswer(complete({ content: JSON.stringify(content) }), pictures).scores;
    expect(read({ judgements: [{ reason: '', score: 1 }, { score: 2 }] }, 2)).toEqual([1, 2]);
    expect(read({ scores: [1, 2] }, 2)).toEqual([1, 2]);
    expect(read({ judgements: [{ score: 1 }] }, 1)).toEqual([1]);
    expect(read({ judgements: [{ score: 1 }] }, 2)).toBeNull();
    expect(read({ score: 1 }, 2)).toBeNull();
  });
});

describe('an answer that was cut', () => {
  const cut = { finish_reason: 'length' };

  it('counts only if nothing follows its object', () => {
    expect(scoreOf({ content: `${ANSWER}\n\`\`\`` }, cut)).toBe(2);
    expect(scoreOf({ content: `${PERFECT} is the format. {"reason": "no` }, cut)).toBeNull();
    expect(scoreOf({ content: '{"reason": "no vase", "sco' }, cut)).toBeNull();
  });

  it('says after how many tokens', () => {
    expect(
      readJudgeAnswer(complete({ content: '' }, cut, { usage: { completion_tokens: 16 } }), 1),
    ).toMatchObject({ isCut: true, tokens: 16 });
  });
});

it('reads an answer of a megabyte of braces and tags in a moment', () => {
  for (const piece of ['{', '<think>', '</think>', '{"score":'])
    expect(scoreOf({ content: piece.repeat(1_000_000 / piece.length) })).toBeNull();
});

it('reads 2,000 damaged answers without an error and finds no score that is not there', () => {
  let state = 21;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const pieces = [
    '{',
    '}',
    '"',
    '[',
    ']',
    '<think>',
    '</think>',
    'null',
    '\\',
    '"score":',
    ',',
    '[THINK]',
    '\u0000',
  ];
  const valid = JSON.stringify(
    complete(
      { content: `<think>a</think>${ANSWER}`, tool_calls: [{ function: { arguments: ANSWER } }] },
      { finish_reason: 'stop' },
      { usage: { completion_tokens: 9 } },
    ),
  );
  for (let round = 0; round < 2000; round++) {
    let text = valid;
    for (let edits = 1 + random(4); edits > 0; edits--) {
      const at = random(text.length);
      text = text.slice(0, at) + pieces[random(pieces.length)] + text.slice(at + random(12));
    }
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      answer = complete({ content: text });
    }
    const { scores } = readJudgeAnswer(answer, 1);
    expect(scores === null || typeof scores[0] === 'number').toBe(true);
    readJudgeAnswer(answer, 3);
  }
});
