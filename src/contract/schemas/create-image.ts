import { type Static, Type } from 'typebox';
import { FreeText, Id, Name, Nullable, OneOf, Ref, RequestedReward, RequestSeed, Seed } from './common.ts';
import { BudgetRequest, JOB_STATUSES } from './job.ts';
import { FORMATS } from './sample.ts';

/**
 * Names follow OpenAI's images API; `policy`, `optimize`, `reward`, `budget` and `seed` are
 * findery's own.
 */
export const CreateImageRequest = Type.Object(
  {
    prompt: Type.Optional(
      FreeText(1, 2000, 'what the images should show; required unless `policy` names a policy'),
    ),
    n: Type.Optional(Type.Integer({ minimum: 1, maximum: 16, default: 1, description: 'number of images' })),
    size: Type.Optional(
      Type.String({
        pattern: '^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$',
        default: 'auto',
        description: 'WIDTHxHEIGHT in pixels, or `auto`: the size of the model or of the policy',
      }),
    ),
    response_format: Type.Optional(
      OneOf(['url', 'b64_json'], { default: 'url', description: 'an address of each image, or its bytes' }),
    ),
    output_format: Type.Optional(OneOf(FORMATS, { default: 'png' })),
    policy: Type.Optional(Id('pol', 'the policy to draw from; no search is made')),
    optimize: Type.Optional(
      Type.Boolean({
        description:
          'true: search for the prompt first (the default without `policy`); ' +
          'false: draw from the base model, N(0, I)',
      }),
    ),
    model: Type.Optional(Name),
    reward: Type.Optional(RequestedReward),
    budget: Type.Optional(Ref(BudgetRequest)),
    seed: Type.Optional(RequestSeed),
  },
  { $id: 'CreateImageRequest', additionalProperties: false },
);
export type CreateImageRequest = Static<typeof CreateImageRequest>;

const CreatedImage = Type.Object({
  id: Id('img', 'the image'),
  url: Type.Optional(Type.String({ description: 'absolute address; it asks for the same key' })),
  b64_json: Type.Optional(Type.String({ description: 'the bytes of the file, base64' })),
  seed: Seed,
  index: Type.Integer({ minimum: 0, description: 'position among the samples of the seed' }),
  reward: Nullable(Type.Number()),
});

/** The answer of `POST /v1/images`. `data` is empty while the work is not finished. */
export const CreatedImages = Type.Object(
  {
    created: Type.Integer({ description: 'seconds since 1970' }),
    status: OneOf(JOB_STATUSES, { description: '`succeeded` once the images are there' }),
    data: Type.Array(CreatedImage),
    job: Nullable(Id('job', 'the search; null: none was made')),
    policy: Nullable(Id('pol', 'the policy that the images were drawn from; null: none')),
    sample: Nullable(Id('smp', 'the batch of these images; null: it is not there yet')),
  },
  { $id: 'CreatedImages' },
);
export type CreatedImages = Static<typeof CreatedImages>;
