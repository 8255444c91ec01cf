import type { ProblemCode } from '../contract/problem.ts';

/** What a type of problem means and what a client does about it: `GET /problems/{code}`. */
export const PROBLEM_TEXTS: Record<ProblemCode, string> = {
  'bad-request':
    'A field, a header or a part of the query is missing, of the wrong type, out of range, or not known. `errors` points at each one with the value that was there and what is accepted.',
  'invalid-json': 'The body could not be read as JSON, or it names `__proto__` or `constructor.prototype`.',
  unauthorized:
    'The service asks for a key in `Authorization: Bearer fdy_...`, and the request has none, or one that is unknown, revoked or has ended. Who runs the service makes them: `findery keys create`.',
  forbidden:
    'The key is good, but lacks the scope that this address asks for; the detail names it. `findery keys create` makes keys with other scopes.',
  'not-found': 'No such address, or no thing with this id. Ids are those that creating or listing returned.',
  'method-not-allowed':
    'The address exists, but not for this method; the header `Allow` lists those it takes.',
  'not-acceptable': 'What is asked for exists, but not in a form that the header `Accept` takes.',
  'too-slow':
    'The request did not arrive in time. Headers have 20 seconds; FINDERY_REQUEST_SECONDS sets the time for all of it.',
  conflict: 'The thing is in a state in which this can no longer be done, as canceling a job that has ended.',
  gone: 'It was there and was deleted, alone or with the policy that it was drawn from. It does not come back.',
  'too-large':
    'The body has more bytes than this server takes; FINDERY_BODY_LIMIT and FINDERY_IMPORT_LIMIT set the limits.',
  'unsupported-media-type':
    'Bodies are application/json; policy files are application/octet-stream. Set `Content-Type` accordingly.',
  'range-not-satisfiable':
    'The header `Range` asks for bytes after the end; `Content-Range` tells how many there are.',
  'expectation-failed':
    'The header `Expect` asks for something that this service does not know; it knows `100-continue`.',
  'not-possible':
    'Every value by itself is fine, but they do not go together, or the model or the optimizer can not do this. `errors` tells what fits.',
  'unknown-model': 'No model of this name is installed. GET /v1/models lists those that are.',
  'unknown-reward': 'No reward of this name is installed. GET /v1/rewards lists those that are.',
  'unknown-optimizer':
    'There is no optimizer of this name. GET /v1/optimizers lists them with their parameters.',
  'unknown-scheduler': 'There is no scheduler of this name. GET /v1/models lists them for each model.',
  'broken-bundle':
    'The model or reward is installed, but a file of it is missing or damaged; the detail names it. Mend it and restart.',
  'bad-policy-file':
    'The file is no safetensors file, is damaged, holds numbers that make no distribution, or is a distribution over latents of another shape.',
  'idempotency-mismatch':
    'This Idempotency-Key came with another body within the last 24 hours, or the id of PUT /v1/jobs/{id} is that of a job of another body. Take a new one for a new request.',
  'headers-too-large': 'Address and headers together have at most 16384 bytes.',
  'rate-limited':
    'More requests in a minute than the key allows, of which `RateLimit-Policy` and `RateLimit` tell how many there are and are left; more bytes of policy files at a time than are read; or too many from one address with keys that do not count. `Retry-After` tells the seconds to wait.',
  'quota-exceeded':
    'The tenant has as much as its keys allow: of waiting work, of images a day (UTC), or of bytes in storage; the detail tells which. Wait for `Retry-After`, cancel or delete something, or ask for a higher limit.',
  'generation-failed': 'The model or the reward failed at this request, or gave numbers that are not finite.',
  'out-of-memory':
    'One picture of this model at this size needs more memory than the worker has, also in a fresh process. Ask for a smaller size, another model, or a worker with more memory. What was learnt until then is kept in a policy without a report.',
  'reward-failed':
    'A service that scores pictures was away, too slow, or answered with something that is no score for each of them; the detail has what it said. What was learnt until then is kept in a policy without a report.',
  'worker-lost':
    'Workers died again and again at the same place of this work, so it was given up. Their logs have the reason.',
  damaged:
    'The bytes in storage are not those that were stored: the disk or somebody changed them. They are not handed out. The operator puts them back from a backup.',
  internal:
    'A fault of the service. Its log has the cause under the `requestId`, or under the id of the job.',
  unavailable:
    'Redis, storage or workers are away, or storage is full. Try again after `Retry-After` seconds; with the same Idempotency-Key a job is made once.',
};
