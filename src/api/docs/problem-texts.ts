import type { ProblemCode } from '../../contract/problem.ts';

/** What a problem type means and what a client does about it: the pages `GET /problems/{code}`. */
export const PROBLEM_TEXTS: Record<ProblemCode, string> = {
  'bad-request':
    'A field, a header or a query parameter is missing, has the wrong type, is out of range or is unknown. ' +
    '`errors` points at each one, with the value that was sent and what is accepted.',
  'invalid-json': 'The body is not valid JSON, or it has a member `__proto__` or `constructor.prototype`.',
  unauthorized:
    'The service requires a key in `Authorization: Bearer fdy_...`. The request has no key, or its key is ' +
    'unknown, revoked or expired. The operator creates keys with `findery keys create`.',
  forbidden:
    'The key is valid, but lacks the scope that this address requires; the detail names it. ' +
    'The operator creates keys with other scopes with `findery keys create`.',
  'not-found':
    'There is no such address, or no record with this id. Use the ids that creating or listing records ' +
    'returns.',
  'method-not-allowed': 'The address exists, but not for this method. The `Allow` header lists its methods.',
  'not-acceptable': 'The resource exists, but not in a format that the `Accept` header allows.',
  'too-slow':
    'The request did not arrive in time. Headers have 20 seconds; FINDERY_REQUEST_SECONDS sets the time ' +
    'for the whole request.',
  conflict:
    'The state of the record does not allow this; for example, a job that has ended cannot be canceled.',
  gone: 'The record was deleted, by itself or with its policy. It cannot be restored.',
  'too-large':
    'The body is larger than this server accepts. ' +
    'FINDERY_BODY_LIMIT and FINDERY_IMPORT_LIMIT set the limits.',
  'unsupported-media-type':
    'Bodies are application/json; policy files are application/octet-stream. Set `Content-Type` accordingly.',
  'range-not-satisfiable':
    'The `Range` header asks for bytes after the end of the file. `Content-Range` has the size of the file.',
  'expectation-failed':
    'The `Expect` header asks for something that this service does not support. It supports `100-continue`.',
  'not-possible':
    'Each value is valid by itself, but the values do not fit together, or the model or the optimizer does ' +
    'not support them. `errors` says what does.',
  'unknown-model': 'No model with this name is installed. GET /v1/models lists the installed models.',
  'unknown-reward': 'No reward with this name is installed. GET /v1/rewards lists the installed rewards.',
  'unknown-optimizer':
    'There is no optimizer with this name. GET /v1/optimizers lists them with their parameters.',
  'unknown-scheduler':
    'There is no scheduler with this name. GET /v1/models lists the schedulers of each model.',
  'broken-bundle':
    'The model or reward is installed, but one of its files is missing or damaged; the detail names it. ' +
    'The operator repairs the file and restarts the service.',
  'bad-policy-file':
    'The file is not a safetensors file, is damaged, holds numbers that are not a distribution, or holds a ' +
    'distribution over latents of another shape.',
  'idempotency-mismatch':
    'This Idempotency-Key was used with another address or body within the last 24 hours, or the id of ' +
    'PUT /v1/jobs/{id} belongs to a job with another body. Use a new key or id for a new request.',
  'headers-too-large': 'The request line and the headers may have 16384 bytes together.',
  'rate-limited':
    'The key has sent more requests in a minute than it may (see `RateLimit-Policy` and `RateLimit`), the ' +
    'tenant sends too many bytes of policy files at once, or the address has sent too many requests with ' +
    'invalid keys. `Retry-After` says how many seconds to wait.',
  'quota-exceeded':
    'The tenant has reached a limit of its keys: waiting work, images per day (UTC) or bytes in storage; ' +
    'the detail says which. Wait for `Retry-After`, cancel or delete something, or ask for a higher limit.',
  'generation-failed':
    'The model or the reward failed on this request, or returned numbers that are not finite.',
  'out-of-memory':
    'One image of this model and size needs more memory than the worker has, even in a new process. Use a ' +
    'smaller size, another model, or a worker with more memory. What was learned until then is stored as a ' +
    'policy without a report.',
  'reward-failed':
    'A service that scores images was unavailable, too slow, or did not return a score for each image; the ' +
    'detail has its answer. What was learned until then is stored as a policy without a report.',
  'worker-lost':
    'Workers crashed repeatedly at the same point of this job or sample, so it was given up. ' +
    'Their logs have the reason.',
  damaged:
    'The bytes in storage differ from those that were stored, so they are not returned. ' +
    'The operator restores them from a backup.',
  internal: 'The service has a fault. Its log has the cause, under the `requestId` or the id of the job.',
  unavailable:
    'Redis, storage or the workers are unavailable, or storage is full. Try again after `Retry-After` ' +
    'seconds; requests with the same Idempotency-Key create one job.',
};
