import { describe, expect, it } from 'vitest';
import { negotiateType } from '../../src/api/http/content-negotiation.ts';

const TYPES = ['application/json', 'text/csv', 'image/png', 'image/svg+xml'] as const;

describe('negotiateType', () => {
  it.each([
    [undefined, 'application/json'],
    ['', 'application/json'],
    ['*/*', 'application/json'],
    ['image/png', 'image/png'],
    ['IMAGE/PNG', 'image/png'],
    ['image/*', 'image/png'],
    ['application/json;q=0.1, text/csv', 'text/csv'],
    ['text/csv;q=0.5,image/svg+xml;q=0.6', 'image/svg+xml'],
    ['text/csv;header=present;q=0.5, application/*;q=0.4', 'text/csv'],
    // The more specific range takes precedence over the wider one.
    ['*/*, application/json;q=0', 'text/csv'],
    ['image/*;q=0.9, image/png;q=0.2', 'image/svg+xml'],
    // Headers of browsers for a typed address and for <img>.
    [
      'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
      'application/json',
    ],
    ['image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8', 'image/png'],
    ['application/pdf', null],
    ['application/json;q=0', null],
    ['application/json;q=nonsense', null],
    ['text', null],
  ])('%s: %s', (header, type) => {
    expect(negotiateType(header, TYPES)).toBe(type);
  });
});
