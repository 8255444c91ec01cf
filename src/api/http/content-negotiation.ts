/**
 * Negotiates a media type (RFC 9110, 12.5.1). Each type has the quality of the most specific
 * range that matches it; of equal ones the first in `types` wins.
 * @param header the `Accept` header; without one, every type is accepted
 * @returns null when the header accepts none of the types
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

/**
 * Parses a range such as `image/*;q=0.8`. The quality is 1 when it is absent and 0 when it is
 * malformed.
 */
function parseRange(text: string): { name: string; quality: number } {
  const [name, ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
  const parameter = parameters.find((candidate) => /^q\s*=/.test(candidate));
  const quality = parameter === undefined ? 1 : Number(parameter.slice(parameter.indexOf('=') + 1));
  return { name, quality: quality >= 0 && quality <= 1 ? quality : 0 };
}
