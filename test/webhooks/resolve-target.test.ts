import { describe, expect, it } from 'vitest';
import { AllowedTargets } from '../../src/config/allowed-targets.ts';
import { checkUrl, resolveTarget } from '../../src/webhooks/resolve-target.ts';
import { resolveTo } from '../support/resolve-to.ts';

const noneAllowed = new AllowedTargets();

describe('the URL of a webhook', () => {
  it.each([
    'https://example.com/hook?token=1',
    'https://EXAMPLE.com',
    'https://example.com:8443/',
    'https://93.184.216.34/',
    'https://[2606:4700::1111]/',
  ])('%s is accepted', (url) => {
    expect(checkUrl(url, noneAllowed).href).toMatch(/^https:/);
  });

  it.each([
    ['ftp://example.com/', /scheme "ftp:"/],
    ['file:///etc/passwd', /scheme/],
    ['javascript:alert(1)', /scheme/],
    ['http://example.com/', /http:\/\//],
    ['https://user:hunter2@example.com/', /user name or a password/],
    ['https://user@example.com/', /user name/],
    ['https://example.com:22/', /port 22/],
    ['https://example.com:0/', /port 0/],
    ['https://example.com:99999/', /can not be parsed/],
    ['//example.com/', /can not be parsed/],
    ['example.com', /can not be parsed/],
    ['https://', /can not be parsed/],
    ['https:\\\\example.com\\@evil.test', /backslashes/],
    ['https://exa mple.com', /spaces/],
    ['ht\ntps://example.com/', /control characters/],
    ['https://localhost/', /server itself/],
    ['https://a.LOCALHOST./', /server itself/],
    ['https://127.0.0.1/', /127\.0\.0\.1/],
    ['https://2130706433/', /127\.0\.0\.1/],
    ['https://0x7f.1/', /127\.0\.0\.1/],
    ['https://0177.0.0.1/', /127\.0\.0\.1/],
    ['https://127.1/', /127\.0\.0\.1/],
    ['https://①②⑦.0.0.1/', /127\.0\.0\.1/],
    ['https://0/', /0\.0\.0\.0/],
    ['https://10.1.2.3/', /10\.1\.2\.3/],
    ['https://172.16.0.1/', /public/],
    ['https://192.168.1.1/', /public/],
    ['https://169.254.169.254/latest/meta-data', /public/],
    ['https://100.64.0.1/', /public/],
    ['https://168.63.129.16/machine', /168\.63\.129\.16 is not in the public/],
    ['https://100.100.100.200/', /public/],
    ['https://192.0.0.192/', /public/],
    ['https://224.0.0.1/', /public/],
    ['https://240.0.0.1/', /public/],
    ['https://255.255.255.255/', /public/],
    ['https://198.18.0.1/', /public/],
    ['https://192.0.2.1/', /public/],
    ['https://[::1]/', /::1/],
    ['https://[::]/', /::/],
    ['https://[::ffff:127.0.0.1]/', /::ffff/],
    ['https://[::ffff:8.8.8.8]/', /::ffff/],
    ['https://[::7f00:1]/', /public/],
    ['https://[64:ff9b::7f00:1]/', /public/],
    ['https://[64:ff9b:1::1]/', /public/],
    ['https://[2002:7f00:1::]/', /public/],
    ['https://[2001::1]/', /public/],
    ['https://[fe80::1]/', /public/],
    ['https://[fc00::1]/', /public/],
    ['https://[fec0::1]/', /public/],
    ['https://[ff02::1]/', /public/],
    ['https://[2001:db8::1]/', /public/],
  ])('%s is rejected with the reason', (url, reason) => {
    expect(() => checkUrl(url, noneAllowed)).toThrow(reason);
    try {
      checkUrl(url, noneAllowed);
    } catch (error) {
      expect((error as Error).message).not.toContain('hunter2');
      expect((error as Error).message).toMatch(/\.$/);
    }
  });

  it('may be any address, network or host that the operator allows', async () => {
    const allowed = new AllowedTargets([
      '127.0.0.1',
      '10.0.0.0/8',
      'fd00::/8',
      'hooks.internal',
      'localhost',
    ]);
    for (const url of [
      'http://127.0.0.1:22/',
      'http://10.9.8.7/',
      'https://[fd12::1]/',
      'http://hooks.internal:81/',
      'http://LOCALHOST./',
    ])
      expect(checkUrl(url, allowed).href).toMatch(/^http/);
    expect(await resolveTarget('http://hooks.internal/', allowed, resolveTo('192.168.0.9'))).toMatchObject({
      addresses: [{ address: '192.168.0.9' }],
    });
    expect(await resolveTarget('https://other.test/', allowed, resolveTo('10.0.0.9'))).toBeTruthy();
    await expect(resolveTarget('https://other.test/', allowed, resolveTo('192.168.0.9'))).rejects.toThrow(
      /192\.168\.0\.9/,
    );
    for (const url of [
      'http://127.0.0.2/',
      'http://11.0.0.1/',
      'http://other.internal/',
      'http://x.hooks.internal/',
    ])
      expect(() => checkUrl(url, allowed)).toThrow(/FINDERY_WEBHOOK_ALLOW/);
  });

  it('is rejected when one address of its host is not public', async () => {
    await expect(
      resolveTarget('https://a.test/', noneAllowed, resolveTo('93.184.216.34', '10.0.0.1')),
    ).rejects.toThrow(/a\.test has the address 10\.0\.0\.1/);
    await expect(resolveTarget('https://a.test/', noneAllowed, resolveTo('fe80::1%eth0'))).rejects.toThrow(
      /public/,
    );
    await expect(resolveTarget('https://a.test/', noneAllowed, resolveTo())).rejects.toThrow(/no address/);
  });
});
