import { describe, expect, it } from 'vitest';
import { rewardCurve } from '../../src/pictures/reward-curve.ts';
import { renderSvg } from '../../src/pictures/svg-renderer.ts';
import { clipText, escapeText } from '../../src/pictures/svg-text.ts';
import { CURVE, readPixels } from '../support/figures.ts';

describe('text in figures', () => {
  it('may be any prompt', () => {
    const prompt = 'a <b>&"\'\u0000\u0007\ud800 \ufffe]]> dog';
    expect(escapeText(prompt)).toBe('a &lt;b&gt;&amp;&quot;&#39;\ufffd\ufffd\ufffd \ufffd]]&gt; dog');
    expect(() => renderSvg(rewardCurve({ ...CURVE, title: prompt }))).not.toThrow();
  });

  it('is cut to the width, between graphemes', () => {
    expect(clipText('a dog', 200, 15)).toBe('a dog');
    expect(clipText('two\n  lines', 200, 15)).toBe('two lines');
    expect(clipText('word '.repeat(100), 200, 15)).toMatch(/^word( word)*( w| wo| wor)?…$/);
    expect(clipText('\u{1f469}\u200d\u{1f467}'.repeat(50), 100, 15)).toMatch(
      /^(\u{1f469}\u200d\u{1f467})+…$/u,
    );
  });

  it('stays inside of the figure after it was cut, even if it is all capitals', async () => {
    for (const title of [
      'W'.repeat(300),
      'WAM@%'.repeat(60),
      'the quick brown fox '.repeat(20),
      'ill'.repeat(200),
    ]) {
      const figure = await readPixels(renderSvg(rewardCurve({ ...CURVE, title })));
      for (let y = 15; y < 45; y++) {
        for (let x = 720 - 23; x < 720; x++) expect(figure.at(x, y)).toEqual([255, 255, 255]);
      }
    }
  });
});
