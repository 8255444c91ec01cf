/**
 * Which of `types` an `Accept` header likes best (RFC 9110, 12.5.1): by the quality of the most specific range that a type
 * falls into; of equals the first of `types`. Null when it takes none of them. No header takes anything.
 */
export function negotiateType<T extends string>(header: string | undefined, types: readonly T[]): T | null {
  const ranges = (header?.trim() || '*/*').split(',').map(parseRange);
  const qualityOf = (type: T) => {
    for (const name of [type, `${type.split('/')[0]}/*`, '*/*']) {
      const range = ranges.find((candidate) => candidate.name === name);
      if (range) return range.quality;
    }
    return 0;
  };
  let best: T | null = null;
  for (const type of types) if (qualityOf(type) > (best === null ? 0 : qualityOf(best))) best = type;
  return best;
}

/** `image/*;q=0.8` as its name and its quality: 1 without one, 0 for one that can't be read. */
function parseRange(text: string): { name: string; quality: number } {
  const [name, ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
  const given = parameters.find((parameter) => /^q\s*=/.test(parameter));
  const quality = given === undefined ? 1 : Number(given.slice(given.indexOf('=') + 1));
  return { name, quality: quality >= 0 && quality <= 1 ? quality : 0 };
}
