import { execFile } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { assemble } from './family-fixtures.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** Path of the `findery` program. */
export const FINDERY = join(ROOT, 'bin', 'findery');
/** Graphs with other inputs or with weights in a file of their own. */
export const VARIANTS = join(ROOT, 'test', 'fixtures', 'families', 'sd15-variants');

/**
 * How a program ended: its exit status, and what it wrote to standard output and standard error.
 */
export interface Outcome {
  readonly status: number;
  readonly output: string;
}

/** The `findery` program with a temporary data folder and an empty models folder for each test. */
export class CommandLine {
  /** Temporary folder of the current test. */
  folder = '';
  /** The folder in FINDERY_MODELS. */
  models = '';

  async setUp(): Promise<void> {
    this.folder = await mkdtemp(join(tmpdir(), 'findery-cli-'));
    this.models = join(this.folder, 'models');
    await mkdir(this.models);
  }

  tearDown(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }

  /**
   * Runs a program; fails the test if it prints a stack trace.
   * @param environment settings that differ from those of the other tests
   */
  run(command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Outcome> {
    const env = {
      ...process.env,
      FINDERY_MODELS: this.models,
      FINDERY_DATA: join(this.folder, 'data'),
      ...environment,
    };
    return new Promise((resolve) => {
      execFile(command, args, { env }, (error, stdout, stderr) => {
        const output = `${stdout}${stderr}`;
        expect(output).not.toMatch(/\n\s+at .*\.ts:\d+/);
        resolve({ status: error ? Number(error.code) : 0, output });
      });
    });
  }

  findery(...args: string[]): Promise<Outcome> {
    return this.run(FINDERY, args);
  }

  /** Writes a bundle outside of the models folder and returns its path. */
  bundle(name = 'sd15'): string {
    assemble(name, this.folder);
    return join(this.folder, name);
  }

  /** The same with the VAE's weights in a file beside its graph. */
  bundleWithExternalWeights(): string {
    const path = this.bundle();
    const vae = join(path, 'vae_decoder');
    copyFileSync(join(VARIANTS, 'vae_decoder-external.onnx'), join(vae, 'model.onnx'));
    copyFileSync(join(VARIANTS, 'model.onnx_data'), join(vae, 'model.onnx_data'));
    return path;
  }
}

/** A command line for the tests of a file; registers its hooks. */
export function useCommandLine(): CommandLine {
  const commandLine = new CommandLine();
  beforeEach(() => commandLine.setUp());
  afterEach(() => commandLine.tearDown());
  return commandLine;
}
