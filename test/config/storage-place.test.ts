import { describe, expect, it } from 'vitest';
import { parseS3 } from '../../src/config/storage-place.ts';

describe('parseS3', () => {
  it.each([
    ['s3://bucket', { bucket: 'bucket', prefix: '' }],
    ['s3://bucket/', { bucket: 'bucket', prefix: '' }],
    ['s3://my.bucket-1/team/a_b/', { bucket: 'my.bucket-1', prefix: 'team/a_b' }],
  ])('reads %s', (address, place) => {
    expect(parseS3(address)).toEqual({ type: 's3', ...place });
  });

  it.each([
    '',
    's3:/bucket',
    's3://',
    's3://Bucket',
    's3://b',
    's3://bucket/../x',
    's3://bucket/a//b',
    's3://bucket/é',
    'http://x',
  ])('rejects %j', (address) => {
    expect(parseS3(address)).toBeNull();
  });
});
