import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { ProblemError } from '../contract/problem.ts';
import type { SigningSecret } from './store.ts';

/** Bytes of a secret in Standard Webhooks: of a generated one, and the accepted range. */
const SECRET_BYTES = { generated: 32, minimum: 24, maximum: 64 } as const;

/** Generates a secret: `whsec_` and 32 random bytes in base64. */
export function generateSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES.generated).toString('base64')}`;
}

/**
 * Validates the secret that a client chose; without one, generates it.
 * @param pointer JSON pointer to the secret in the request
 * @throws ProblemError `bad-request` when it is not `whsec_` and 24 to 64 bytes in base64. The
 *   message does not quote it.
 */
export function resolveSecret(given: string | undefined, pointer: string): string {
  if (given === undefined) return generateSecret();
  const text = given.replace(/^whsec_/, '');
  const bytes = Buffer.from(text, 'base64');
  const isBase64 = given.startsWith('whsec_') && bytes.toString('base64') === text;
  const { minimum, maximum } = SECRET_BYTES;
  if (isBase64 && bytes.length >= minimum && bytes.length <= maximum) return given;
  const accepted = `"whsec_" and ${minimum} to ${maximum} bytes in base64, with its padding`;
  throw new ProblemError(
    'bad-request',
    `The secret is not valid; it must be ${accepted}. Leave it out to get a generated one.`,
    [{ pointer, message: `must be ${accepted}` }],
  );
}

/**
 * The headers of a delivery (Standard Webhooks), with one signature for each secret that is valid
 * at `now`.
 * @param id id of the event, the same in every attempt
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
 * The secrets after a rotation: the new one first, then at most two old ones with an end.
 * @param keepSeconds seconds for which the old secrets still sign
 */
export function rotateSecrets(
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
  // Frequent rotations would add a signature each; a receiver needs only the latest ones.
  return [{ secret, validUntil: null }, ...old.slice(0, 2)];
}
