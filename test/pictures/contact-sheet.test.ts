import { describe, expect, it } from 'vitest';
import { contactSheet } from '../../src/pictures/contact-sheet.ts';
import { renderSvg } from '../../src/pictures/svg-renderer.ts';
import { encodePng, readPixels } from '../support/figures.ts';

describe('the contact sheet', () => {
  const RED = [255, 0, 0];
  const BLUE = [0, 0, 255];

  it('does not blur enlarged pictures', async () => {
    const png = await encodePng(2, 1, [RED, BLUE]);
    const rows = [{ label: 'base', pictures: [{ png, caption: '0.50' }] }];
    const sheet = await readPixels(
      renderSvg(contactSheet({ title: 'x', subtitle: '', rows, pictureSize: 100 })),
    );
    // The square starts at (24, 94); a picture twice as wide as high is centered in it.
    expect(sheet.at(24 + 48, 94 + 50)).toEqual(RED);
    expect(sheet.at(24 + 52, 94 + 50)).toEqual(BLUE);
    expect(sheet.at(24 + 50, 94 + 10)).toEqual([255, 255, 255]);
  });

  it('averages the pixels of reduced pictures', async () => {
    const png = await encodePng(
      64,
      64,
      Array.from({ length: 64 * 64 }, (_, i) => ((i + (i >> 6)) % 2 ? RED : BLUE)),
    );
    const rows = [{ label: 'base', pictures: [{ png, caption: '' }] }];
    const sheet = await readPixels(
      renderSvg(contactSheet({ title: 'x', subtitle: '', rows, pictureSize: 32 })),
    );
    const [red, , blue] = sheet.at(24 + 16, 94 + 16);
    expect(Math.abs(red - blue)).toBeLessThan(64);
  });

  it('has its pictures in rows, each with its caption', async () => {
    const png = await encodePng(1, 1, [RED]);
    const row = (label: string, count: number) => ({
      label,
      pictures: Array.from({ length: count }, (_, i) => ({ png, caption: `${label} ${i}` })),
    });
    const rows = [row('base', 8), row('learned', 3)];
    const svg = contactSheet({ title: 'a <dog> & "cat"', subtitle: '8 noises', rows });
    expect(svg.match(/<image /g)).toHaveLength(11);
    for (const text of [
      'a &lt;dog&gt; &amp; &quot;cat&quot;',
      '8 noises',
      'base',
      'learned',
      'base 7',
      'learned 2',
    ]) {
      expect(svg).toContain(`>${text}</text>`);
    }
    const sheet = await readPixels(renderSvg(svg));
    expect(sheet.width).toBe(2 * 24 + 8 * 128 + 7 * 10);
    expect(sheet.at(24 + 7 * 138 + 64, 94 + 64)).toEqual(RED);
    expect(sheet.at(24 + 2 * 138 + 64, 94 + 180 + 64)).toEqual(RED);
    expect(sheet.at(24 + 3 * 138 + 64, 94 + 180 + 64)).toEqual([255, 255, 255]);
  });

  it('can be empty', () => {
    expect(renderSvg(contactSheet({ title: 'x', subtitle: 'y', rows: [] })).length).toBeGreaterThan(500);
    expect(
      renderSvg(contactSheet({ title: '', subtitle: '', rows: [{ label: 'a', pictures: [] }] })).length,
    ).toBeGreaterThan(500);
  });

  it('rejects files that are not PNG', () => {
    const rows = [{ label: 'base', pictures: [{ png: new Uint8Array(100), caption: '' }] }];
    expect(() => contactSheet({ title: 'x', subtitle: '', rows })).toThrow(
      'A picture of 100 bytes is not a PNG file',
    );
  });
});
