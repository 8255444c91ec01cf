import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { ProblemError } from '../contract/problem.ts';
import type { SigningSecret } from './webhook-store.ts';

/** Bytes of a secret, as Standard Webhooks has it. */
const BYTES = { made: 32, least: 24, most: 64 } as const;

/** A new secret. */
export function makeSecret(): string {
  return `whsec_${randomBytes(BYTES.made).toString('base64')}`;
}

/**
 * A client's own secret, or a new one.
 * @param pointer where it stands in the request
 * @throws ProblemError `bad-request` when it is not base64 of 24 to 64 bytes; it is not quoted
 */
export function takeSecret(given: string | undefined, pointer: string): string {
  if (given === undefined) return makeSecret();
  const text = given.replace(/^whsec_/, '');
  const bytes = Buffer.from(text, 'base64');
  const isBase64 = given.startsWith('whsec_') && bytes.toString('base64') === text;
  if (isBase64 && bytes.length >= BYTES.least && bytes.length <= BYTES.most) return given;
  const accepted = `"whsec_" and ${BYTES.least} to ${BYTES.most} bytes in base64, with its padding`;
  throw new ProblemError(
    'bad-request',
    `The secret can't be used; it takes ${accepted}. Leave it out to get one.`,
    [{ pointer, message: `takes ${accepted}` }],
  );
}

/**
 * The headers of a delivery (Standard Webhooks), with a signature by each secret that is valid at `now`.
 * @param id of the event, the same in every attempt
 */
export function signedHeaders(
  id: string,
  body: string,
  secrets: readonly SigningSecret[],
  now: Date,
): { readonly [name: string]: string } {
  const valid = secrets.filter(
    ({ validUntil }) => validUntil === null || Date.parse(validUntil) > now.getTime(),
  );
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': valid.map(({ secret }) => new Webhook(secret).sign(id, now, body)).join(' '),
  };
}

/**
 * The secrets after a rotation: the new one, and the old ones for a while.
 * @param keepSeconds how long what signs now still signs
 */
export function rotate(
  secrets: readonly SigningSecret[],
  secret: string,
  keepSeconds: number,
  now: Date,
): SigningSecret[] {
  const end = new Date(now.getTime() + keepSeconds * 1000).toISOString();
  const old = secrets
    .map((one) => ({
      ...one,
      validUntil: one.validUntil !== null && one.validUntil < end ? one.validUntil : end,
    }))
    .filter(({ validUntil, secret: other }) => Date.parse(validUntil) > now.getTime() && other !== secret);
  // Each rotation within the time of the last adds a signature: a receiver needs the latest few.
  return [{ secret, validUntil: null }, ...old.slice(0, 2)];
}
