import { Worker } from 'node:worker_threads';
import { ProblemError } from '../../contract/problem.ts';
import { describePolicyFile, type PolicyContent } from '../../jobs/policy-record.ts';
import { decodePolicy, type PolicyFile, PolicyFileError } from '../../storage/policy-file.ts';
import { SafetensorsError, UPLOAD_LIMITS } from '../../storage/safetensors/format.ts';

/**
 * Files of more bytes are read in a thread: the limit of 64 MiB takes half a second. The start of
 * the thread takes as long as a file of some MB.
 */
export const MAX_INLINE_BYTES = 256 * 1024;

/** A file that a client sent and that is a usable policy. */
export interface OpenedUpload {
  /** The bytes as they were sent. */
  readonly file: Uint8Array;
  readonly content: PolicyContent;
  readonly metadata: PolicyFile['metadata'];
}

/** Resolves when the thread of the latest file has ended. */
let latestThread: Promise<unknown> = Promise.resolve();

/**
 * Reads and checks a policy file that a client sent. A large file is read in a thread, one file at
 * a time, so that the event loop goes on.
 * @param file its buffer may be moved to the thread; use the `file` of the result
 * @throws ProblemError `bad-policy-file`
 */
export async function openUpload(file: Uint8Array): Promise<OpenedUpload> {
  if (file.byteLength <= MAX_INLINE_BYTES) return readUpload(file);
  const opened = latestThread.then(() => openInThread(file));
  latestThread = opened.catch(() => {});
  return opened;
}

/** What the thread sends back. */
export type ThreadAnswer = OpenedUpload | { readonly refusal: string };

/** Reads a file on this thread. @throws ProblemError `bad-policy-file` */
export function readUpload(file: Uint8Array): OpenedUpload {
  try {
    const { distribution, metadata } = decodePolicy(file, null, UPLOAD_LIMITS);
    return { file, content: describePolicyFile(file, distribution), metadata };
  } catch (error) {
    if (error instanceof PolicyFileError || error instanceof SafetensorsError)
      throw new ProblemError('bad-policy-file', error.message);
    throw error;
  }
}

async function openInThread(file: Uint8Array): Promise<OpenedUpload> {
  // Moved, not copied, unless the buffer holds something else too.
  const own = file.byteLength === file.buffer.byteLength ? file : Uint8Array.from(file);
  const thread = new Worker(new URL('./open-upload-thread.ts', import.meta.url), {
    workerData: own,
    transferList: [own.buffer as ArrayBuffer],
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const answer = await new Promise<ThreadAnswer>((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', (code) =>
      reject(new Error(`The thread that reads a policy file ended with exit code ${code}.`)),
    );
  });
  if ('refusal' in answer) throw new ProblemError('bad-policy-file', answer.refusal);
  return answer;
}
