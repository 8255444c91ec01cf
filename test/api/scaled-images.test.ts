import { describe, expect, it } from 'vitest';
import { ScaledImages } from '../../src/api/images/scaled-images.ts';

describe('ScaledImages', () => {
  const made: string[] = [];
  const get = (cache: ScaledImages, key: string, bytes = 10) =>
    cache.get(key, async () => {
      made.push(key);
      return Buffer.alloc(bytes);
    });

  it('makes an image once, also for requests at the same time', async () => {
    const cache = new ScaledImages(1000);
    const images = await Promise.all([get(cache, 'a'), get(cache, 'a')]);
    expect(images[0]).toBe(images[1]);
    expect(await get(cache, 'a')).toBe(images[0]);
    expect(made.splice(0)).toEqual(['a']);
  });

  it('drops the least recently used images, and caches no large ones', async () => {
    const cache = new ScaledImages(80);
    for (const key of 'abcdefgh') await get(cache, key);
    await get(cache, 'a');
    await get(cache, 'i');
    made.length = 0;
    for (const key of ['a', 'c', 'i', 'b']) await get(cache, key);
    expect(made.splice(0)).toEqual(['b']);
    for (let i = 0; i < 2; i++) await get(cache, 'large', 11);
    expect(made.splice(0)).toEqual(['large', 'large']);
  });

  it('caches no failure', async () => {
    const cache = new ScaledImages(1000);
    const fail = () => Promise.reject(new Error('damaged'));
    await expect(cache.get('a', fail)).rejects.toThrow('damaged');
    expect((await get(cache, 'a')).length).toBe(10);
  });
});
