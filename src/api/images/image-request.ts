import type { FastifyRequest } from 'fastify';
import { ProblemError } from '../../contract/problem.ts';
import type { PolicyRecord } from '../../contract/records.ts';
import type { CreateImageRequest } from '../../contract/schemas/create-image.ts';
import { negotiateType } from '../http/content-negotiation.ts';

/** Content types of the answer: JSON, or one picture in the format of its type. */
export const JSON_TYPE = 'application/json';
export const PICTURE_FORMATS = { 'image/png': 'png', 'image/webp': 'webp', 'image/jpeg': 'jpeg' } as const;
export type PictureType = keyof typeof PICTURE_FORMATS;
const ANSWER_TYPES = [JSON_TYPE, ...(Object.keys(PICTURE_FORMATS) as PictureType[])] as const;

/** Whether the request asks for a search; without a policy and without `optimize` it does. */
export function isSearch({ policy, optimize }: CreateImageRequest): boolean {
  return optimize ?? policy === undefined;
}

/** @throws ProblemError `not-possible` for members that exclude each other */
export function checkImageRequest({ prompt, policy, optimize, budget }: CreateImageRequest): void {
  if (policy === undefined) {
    if (prompt === undefined)
      refuse('/prompt', 'is missing', 'A prompt is missing; send one, or the id of a policy.');
    if (optimize === false && budget !== undefined)
      refuse('/budget', 'belongs to a search', 'A budget belongs to a search, but "optimize" is false.');
    return;
  }
  if (optimize)
    refuse('/optimize', 'false, or left out', 'A policy is the result of a search: leave "optimize" out.');
  if (budget !== undefined)
    refuse('/budget', 'belongs to a search', 'A policy is the result of a search: leave "budget" out.');
}

/**
 * Clients of OpenAI's API always send a prompt and a model, so those of the policy are accepted.
 * @throws ProblemError `not-possible` for another prompt or model
 */
export function checkPolicyRequest(body: CreateImageRequest, policy: PolicyRecord): void {
  for (const name of ['prompt', 'model'] as const)
    if (body[name] !== undefined && body[name] !== policy[name])
      refuse(
        `/${name}`,
        "differs from the policy's",
        `The policy ${policy.id} was learned for the ${name} "${policy[name]}"; leave "${name}" out.`,
      );
}

/** The size in pixels; undefined for `auto`. */
export function parseSize({
  size = 'auto',
}: CreateImageRequest): { width: number; height: number } | undefined {
  if (size === 'auto') return undefined;
  const [width = 0, height = 0] = size.split('x').map(Number);
  return { width, height };
}

/**
 * The content type of the answer: JSON, or the picture itself.
 * @throws ProblemError `not-acceptable` for other types, and for a picture when `n` is above 1
 */
export function negotiateAnswer(
  { headers }: FastifyRequest,
  { n = 1 }: CreateImageRequest,
): typeof JSON_TYPE | PictureType {
  const type = negotiateType(headers.accept, ANSWER_TYPES);
  if (type === null)
    throw new ProblemError(
      'not-acceptable',
      `Accept is "${headers.accept}"; the answer can be ${ANSWER_TYPES.join(', ')}.`,
    );
  if (type !== JSON_TYPE && n > 1)
    throw new ProblemError('not-acceptable', `One picture can be the answer, not ${n}: accept ${JSON_TYPE}.`);
  return type;
}

function refuse(pointer: string, message: string, detail: string): never {
  throw new ProblemError('not-possible', detail, [{ pointer, message }]);
}
