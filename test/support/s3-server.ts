import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';

/**
 * An S3 server as a process, which speaks HTTP and keeps its objects in a folder. It leaves out the slash after a bucket's
 * name when it checks a signature, so signatures only have to be well-formed; its puts are not atomic, as those of S3 are.
 */
export interface S3Server {
  readonly bucket: string;
  /** What a process needs to reach it. */
  readonly environment: {
    readonly AWS_ENDPOINT_URL_S3: string;
    readonly AWS_REGION: string;
    readonly AWS_ACCESS_KEY_ID: string;
    readonly AWS_SECRET_ACCESS_KEY: string;
  };
  close(): Promise<void>;
}

/** @param folder where it keeps its objects, in a folder of the bucket's name */
export async function startS3Server(folder: string): Promise<S3Server> {
  const bucket = 'findery-test';
  const cli = createRequire(import.meta.url).resolve('@20minutes/s3rver/lib/cli.js');
  const options = [
    '-d',
    folder,
    '-a',
    '127.0.0.1',
    '-p',
    '0',
    '-s',
    '--allow-mismatched-signatures',
    '--configure-bucket',
    bucket,
  ];
  const server = spawn(
    process.execPath,
    // Its continuation tokens are made with DES.
    [
      '--openssl-legacy-provider',
      '-e',
      'require(process.argv[1]).parseAsync(process.argv.slice(2), { from: "user" })',
      cli,
      ...options,
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const port = await new Promise<string>((resolve, reject) => {
    let said = '';
    server.stdout.on('data', (chunk: Buffer) => {
      said += chunk;
      const found = /listening on 127\.0\.0\.1:(\d+)/.exec(said);
      if (found) resolve(found[1]);
    });
    server.once('exit', (code) => reject(new Error(`the S3 server ended with ${code}`)));
  });
  return {
    bucket,
    environment: {
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'S3RVER',
      AWS_SECRET_ACCESS_KEY: 'S3RVER',
    },
    async close() {
      server.kill();
      await ended;
    },
  };
}
