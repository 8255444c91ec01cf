// The first image: one request, answered with JSON. Writes first-image.png.
// Run: node examples/first-image.ts
import { writeFile } from 'node:fs/promises';

const {
  FINDERY_URL = 'http://127.0.0.1:8080',
  FINDERY_KEY,
  PROMPT = 'a green dog on the grass',
} = process.env;
const { BUDGET = '40' } = process.env;
const headers = {
  'Content-Type': 'application/json',
  ...(FINDERY_KEY ? { Authorization: `Bearer ${FINDERY_KEY}` } : {}),
};

const response = await fetch(`${FINDERY_URL}/v1/images`, {
  method: 'POST',
  headers,
  body: JSON.stringify({
    prompt: PROMPT,
    budget: { images: Number(BUDGET) },
    response_format: 'b64_json',
  }),
});
const answer = (await response.json()) as {
  policy: string;
  data: { b64_json: string; reward: number }[];
  detail?: string;
};
// 202: the search takes longer than the request waits. `Location` is the address of the job.
if (response.status !== 200)
  throw new Error(`${response.status}: ${answer.detail ?? `see ${response.headers.get('location')}`}`);

for (const { b64_json: bytes, reward } of answer.data) {
  await writeFile('first-image.png', Buffer.from(bytes, 'base64'));
  console.log(`first-image.png, reward ${reward.toFixed(2)}, drawn from ${answer.policy}`);
}
