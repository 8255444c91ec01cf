/** Braces at which an object is looked for: a text of nothing but braces is not worth more. */
const MOST_STARTS = 200;

/** The first JSON object in a text that has the key; whatever stands around it, as talk, a code fence or an outer object. */
export function findObject(text: string, key: string): { readonly [key: string]: unknown } | null {
  let start = text.indexOf('{');
  for (let tries = 0; start >= 0 && tries < MOST_STARTS; tries++) {
    const object = parse(text.slice(start, endOfObject(text, start)));
    if (object && key in object) return object;
    start = text.indexOf('{', start + 1);
  }
  return null;
}

/** Where the braces that open at `start` are closed again, braces in strings left out. */
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

function parse(text: string): { readonly [key: string]: unknown } | null {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
