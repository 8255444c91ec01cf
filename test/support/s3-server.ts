import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';

/**
 * An S3 server in a separate process, over HTTP, with its objects in a folder. Two differences from
 * S3: its puts are not atomic; and it computes signatures without the slash after the bucket's
 * name, so this starts it with `--allow-mismatched-signatures`, and any well-formed signature
 * passes.
 */
export interface S3Server {
  readonly bucket: string;
  /** Environment variables with which the AWS SDK uses this server. */
  readonly environment: {
    readonly AWS_ENDPOINT_URL_S3: string;
    readonly AWS_REGION: string;
    readonly AWS_ACCESS_KEY_ID: string;
    readonly AWS_SECRET_ACCESS_KEY: string;
  };
  close(): Promise<void>;
}

/** @param folder holds the objects, in a subfolder with the name of the bucket */
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
    // The server makes its continuation tokens with DES, which only the legacy provider has.
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
    let output = '';
    server.stdout.on('data', (chunk: Buffer) => {
      output += chunk;
      const found = /listening on 127\.0\.0\.1:(\d+)/.exec(output);
      if (found) resolve(found[1]);
    });
    server.once('exit', (code) => reject(new Error(`the S3 server exited with ${code}`)));
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
