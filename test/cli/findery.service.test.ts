import { describe, expect, it } from 'vitest';
import { useCommandLine } from '../support/command-line.ts';

const cli = useCommandLine();

describe('findery', () => {
  it('lists its commands when none is given', async () => {
    expect(await cli.findery()).toMatchObject({
      status: 2,
      output: expect.stringMatching(/models .*\n.*workers/),
    });
    expect(await cli.findery('--help')).toMatchObject({ status: 0 });
    expect(await cli.findery('model')).toMatchObject({
      status: 2,
      output: expect.stringContaining('no command "model"'),
    });
  });

  it.each([
    [['models'], 'An action is missing: list, check, add or remove'],
    [['models', 'drop'], 'no "models drop"'],
    [['models', 'add'], 'needs a name or a path'],
    [['models', 'list', '--yes'], 'takes no --yes'],
    [['models', 'list', '--what'], '--what'],
    [['models', 'check', 'a', 'b'], '"b" is not expected here'],
    [['workers', '--url', 'nowhere'], 'is not a URL'],
  ])('refuses %j and prints the usage', async (args, words) => {
    const { status, output } = await cli.findery(...args);
    expect(status).toBe(2);
    expect(output).toContain(words);
    expect(output).toContain('Usage: findery');
  });

  it('says how to reach a service when none answers', async () => {
    const { status, output } = await cli.findery('workers', '--url', 'http://127.0.0.1:9');
    expect(status).toBe(1);
    expect(output).toMatch(/No service answers at http:\/\/127\.0\.0\.1:9.*npm start/);
  });
});
