import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAjv } from '../../src/api/plugins/validation.ts';
import { httpScorer } from '../../src/rewards/http.ts';
import { grayPictures, RewardServer, readReward } from '../support/reward-server.ts';

/** Snippets that are programs run in `snippets.service.test.ts`; this file reads the rest. */
const ROOT = join(import.meta.dirname, '..', '..');
const SKIPPED_FOLDERS = /^(\..*|node_modules|fixtures|.*-output)$/;
const DOCUMENTS = findDocuments(ROOT).map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));

function findDocuments(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED_FOLDERS.test(entry.name) ? [] : findDocuments(path);
    return entry.name.endsWith('.md') ? [relative(ROOT, path)] : [];
  });
}

function jsonBlocks(path: string): Record<string, unknown>[] {
  const text = DOCUMENTS.find((document) => document.path === path)?.text ?? '';
  return [...text.matchAll(/^```json\n([\s\S]*?)^```$/gm)].map(([, block]) => JSON.parse(block));
}

/** The id that renderers of Markdown give a heading. */
function headingId(heading: string): string {
  const plain = heading.replaceAll(/[`*]/g, '').toLowerCase();
  return plain.replaceAll(/[^\p{L}\p{N}_\- ]/gu, '').replaceAll(' ', '-');
}

/** The relative links of a document whose file or heading does not exist. */
function brokenLinks({ path, text }: { readonly path: string; readonly text: string }): string[] {
  const prose = text.replaceAll(/^```[\s\S]*?^```$/gm, '');
  const links = [...prose.matchAll(/\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)/g)];
  const broken = links.filter(([, file, anchor]) => {
    const target = file === '' ? join(ROOT, path) : join(ROOT, dirname(path), file);
    if (!existsSync(target)) return true;
    if (anchor === undefined || !target.endsWith('.md')) return false;
    const headings = [...readFileSync(target, 'utf8').matchAll(/^#+ (.*)$/gm)];
    return !headings.some(([, heading]) => headingId(heading) === anchor);
  });
  return broken.map(([link]) => `${path}: ${link.slice(2, -1)}`);
}

describe('the documents', () => {
  it('link to files and headings that exist', () => {
    expect(DOCUMENTS.length).toBeGreaterThan(20);
    expect(DOCUMENTS.flatMap(brokenLinks)).toEqual([]);
  });

  it('name scripts that package.json has', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
    const named = DOCUMENTS.filter(
      ({ path }) => path !== 'CHANGELOG.md' && !path.startsWith('docs/releases/'),
    )
      .flatMap(({ text }) => [...text.matchAll(/\bnpm run ([a-z][a-z:-]*)/g)])
      .map(([, script]) => script);
    expect([...new Set(named)].filter((script) => !Object.hasOwn(scripts, script))).toEqual([]);
  });
});

describe('the JSON blocks', () => {
  let folder: string;
  let server: RewardServer;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'findery-documents-'));
    server = await RewardServer.start();
  });
  afterAll(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });

  it('of requests are valid', () => {
    const isJobRequest = createAjv(false).getSchema('JobRequest');
    const requests = [...jsonBlocks('docs/rewards.md'), ...jsonBlocks('docs/operations.md')].filter(
      (block) => 'webhook' in block || 'reward' in block,
    );
    expect(requests).toHaveLength(2);
    for (const request of requests) {
      isJobRequest?.({ prompt: 'a green dog', ...request });
      expect(isJobRequest?.errors ?? null).toBeNull();
    }
  });

  it('of cards are rewards that can be used', async () => {
    const cards = jsonBlocks('docs/rewards.md').filter(({ kind }) => kind === 'reward');
    expect(cards.map(({ type }) => type)).toEqual(['http', 'chat', 'chat']);
    for (const card of cards) expect(await readReward(folder, card)).toMatchObject({ type: card.type });
  });

  it('of schemas are those of the requests and answers of a scorer', async () => {
    const [request, answer] = jsonBlocks('docs/rewards.md').filter(({ type }) => type === 'object');
    const [card] = jsonBlocks('docs/rewards.md').filter(({ type }) => type === 'http');
    const reward = await server.httpReward({ ...card, url: `${server.url}/score` });
    const scores = [0.5, 0.25];
    server.answer = () => ({ body: { scores } });
    const scorer = httpScorer(reward, { MY_SCORER_KEY: 'key' });
    expect(await scorer.score(grayPictures(2), 'a dog')).toEqual(scores);

    const ajv = new Ajv({ strict: false });
    expect(server.requests).toHaveLength(1);
    expect(server.requests[0].headers.authorization).toBe('Bearer key');
    expect(ajv.validate(request, server.requests[0].body)).toBe(true);
    expect(ajv.validate(request, { prompt: 'a dog', images: [{ data: '' }] })).toBe(false);
    expect(ajv.validate(answer, { scores })).toBe(true);
    expect(ajv.validate(answer, { scores: ['0.5'] })).toBe(false);
  });
});
