import { parentPort, workerData } from 'node:worker_threads';
import { ProblemError } from '../../contract/problem.ts';
import { readUpload, type ThreadAnswer } from './open-upload.ts';

/** A thread that reads one policy file and ends; `openUpload` starts it. */
function answer(file: Uint8Array): ThreadAnswer {
  try {
    return readUpload(file);
  } catch (error) {
    if (error instanceof ProblemError) return { refusal: error.message };
    throw error;
  }
}

const file = workerData as Uint8Array<ArrayBuffer>;
parentPort?.postMessage(answer(file), [file.buffer]);
