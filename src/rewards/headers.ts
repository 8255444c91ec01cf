import { RewardError } from './scorer.ts';

/**
 * The headers of a request: those of JSON, and the card's with the environment variables that they name (`${NAME}`).
 * @throws RewardError when the worker has no such variable, or when it holds what no header can; what it holds is never told
 */
export function requestHeaders(
  name: string,
  headers: { readonly [header: string]: string },
  environment: { readonly [variable: string]: string | undefined },
): Headers {
  const made = new Headers({ accept: 'application/json', 'content-type': 'application/json' });
  for (const [header, text] of Object.entries(headers)) {
    const value = text.replace(/\$\{(\w+)\}/g, (_, variable: string) => {
      const found = environment[variable];
      if (found) return found;
      throw new RewardError(
        `The reward "${name}" sends a header with the environment variable ${variable}, which the worker has not, or has empty; set it where the worker is started.`,
        { isTransient: false },
      );
    });
    try {
      made.set(header, value);
    } catch {
      throw new RewardError(
        `The reward "${name}" has a header "${header}" whose value no request can hold (a line break in it?); mend it in its findery.json, or in the environment variable that it names.`,
        { isTransient: false },
      );
    }
  }
  return made;
}
