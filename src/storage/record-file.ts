import { sha256Of } from '../sha256.ts';

/**
 * A record file is a record of Redis as a JSON file in storage, from which a lost Redis is rebuilt.
 * Its members: `format: findery.record`, `formatVersion: 1`, `sha256` (of the text of `body` in the
 * file) and `body`.
 */
const FORMAT = 'findery.record';
const FORMAT_VERSION = 1;

/** The bytes are not a usable record file. The message says what was found. */
export class RecordFileError extends Error {
  override readonly name = 'RecordFileError';
}

/** Writes a record file. @param body a JSON object */
export function encodeRecordFile(body: object): Uint8Array {
  const text = JSON.stringify(body);
  const envelope = { format: FORMAT, formatVersion: FORMAT_VERSION, sha256: sha256Of(text) };
  return new TextEncoder().encode(`${JSON.stringify(envelope).slice(0, -1)},"body":${text}}\n`);
}

/**
 * Reads the body of a record file.
 * @throws RecordFileError when the bytes have another format, a newer version or another hash
 */
export function decodeRecordFile(bytes: Uint8Array): { readonly [name: string]: unknown } {
  let file: { readonly [name: string]: unknown };
  try {
    file = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new RecordFileError(`The record is damaged: it is not JSON (${(error as Error).message}).`, {
      cause: error,
    });
  }
  const { format, formatVersion, sha256, body } = file ?? {};
  if (format !== FORMAT || typeof formatVersion !== 'number' || typeof body !== 'object' || body === null) {
    throw new RecordFileError(
      `The file's format is ${JSON.stringify(format) ?? 'missing'}; a record has "${FORMAT}".`,
    );
  }
  if (formatVersion > FORMAT_VERSION) {
    throw new RecordFileError(
      `The record's formatVersion is ${formatVersion}; this findery reads up to ${FORMAT_VERSION}. ` +
        'Use the findery that wrote it, or a newer one.',
    );
  }
  const found = sha256Of(JSON.stringify(body));
  if (found !== sha256) {
    throw new RecordFileError(
      `The record is damaged: its body has the SHA-256 ${found}, but ${sha256} was written.`,
    );
  }
  return body as { readonly [name: string]: unknown };
}
