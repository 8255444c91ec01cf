import { writeFile } from 'node:fs/promises';
import { SETTING_GROUPS, type Setting } from './settings.ts';

const INTRODUCTION = `# Configuration

findery reads environment variables when a process starts. A blank variable counts as not set. A process that
finds an unusable value does not start; its error names every such variable and what it accepts.

This page is written by \`npm run docs:config\` from \`src/config/settings.ts\`.
`;

/** The text of docs/configuration.md. */
export function configurationPage(): string {
  const sections = SETTING_GROUPS.map(({ heading, settings }) =>
    [
      `\n## ${heading}\n`,
      '| Variable | Default | Accepts | Meaning |',
      '| --- | --- | --- | --- |',
      ...Object.values(settings).map(row),
    ].join('\n'),
  );
  return `${[INTRODUCTION.trimEnd(), ...sections].join('\n')}\n`;
}

function row({ variable, default: text, defaultInWords, value, description }: Setting<unknown>): string {
  const shown = defaultInWords ?? (text === '' ? '–' : `\`${text}\``);
  return `| \`${variable}\` | ${shown} | ${value.accepts} | ${description} |`;
}

if (process.argv[1] === import.meta.filename) {
  await writeFile(new URL('../../docs/configuration.md', import.meta.url), configurationPage());
  console.log('docs/configuration.md is written');
}
