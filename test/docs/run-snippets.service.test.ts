import { expect, it } from 'vitest';
import { findSnippets, runSnippets } from '../support/snippets.ts';

const fence = (marker: string, code: string) => `${marker}\n\`\`\`sh\n${code}\n\`\`\`\n`;

it('finds the marked blocks of a document in order, with their lines', () => {
  const document = [
    '# A\n',
    fence('<!-- test: sh -->', 'echo 1'),
    fence('text', 'echo no'),
    fence('<!-- test: python -->', 'print(2)'),
  ].join('\n');
  expect(findSnippets(document)).toEqual([
    { language: 'sh', code: 'echo 1\n', line: 3 },
    { language: 'python', code: 'print(2)\n', line: 13 },
  ]);
});

it('refuses an unknown language and a marker without a block', () => {
  expect(() => findSnippets(fence('<!-- test: ruby -->', 'puts 1'))).toThrow(/line 1: .*"ruby".*sh, ts/);
  expect(() => findSnippets('\n<!-- test: sh -->\n\ntext\n')).toThrow(/line 2: no fenced block/);
});

it('runs blocks in one folder, with one shell and the URL of the service', async () => {
  const { stdout } = await runSnippets(
    [
      { language: 'sh', code: 'NAME=file; echo http://127.0.0.1:8080/v1 > $NAME\n', line: 1 },
      {
        language: 'ts',
        code:
          "import { readFileSync } from 'node:fs';\n" +
          "const text: string = readFileSync('file', 'utf8');\n" +
          'console.log(text.trim(), process.env.FINDERY_URL);\n',
        line: 2,
      },
      { language: 'sh', code: 'echo $NAME\n', line: 3 },
    ],
    'http://service',
  );
  expect(stdout).toBe('http://service/v1 http://service\nfile\n');
});

it('names the line of a block that fails', async () => {
  const failing = { language: 'sh', code: 'echo before; false; echo after\n', line: 7 } as const;
  await expect(runSnippets([failing], 'http://service')).rejects.toThrow(
    /line 7 \(sh\): exit status 1\nbefore/,
  );
});
