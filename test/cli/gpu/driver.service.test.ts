import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeCard, explainNvidia, readNvidia } from '../../../src/cli/gpu/driver.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'findery-driver-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

function nvidiaSmi(script: string): string {
  const path = join(root, 'nvidia-smi');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}
function write(path: string, text: string): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), text);
}
const absent = () => join(root, 'no-nvidia-smi');

describe('readNvidia', () => {
  it('reads cards and driver from nvidia-smi', async () => {
    const program = nvidiaSmi(
      'echo "0, NVIDIA H100 80GB HBM3, 580.95.05, 80000"\necho "1, NVIDIA L4, 580.95.05, [N/A]"',
    );
    const nvidia = await readNvidia({ program, root });
    expect(nvidia).toEqual({
      driver: '580.95.05',
      isCardInSlot: true,
      cards: [
        { index: 0, name: 'H100', memoryMiB: 80000 },
        { index: 1, name: 'L4', memoryMiB: null },
      ],
    });
    expect(explainNvidia(nvidia, 1)).toBeNull();
    expect(describeCard(nvidia, 0)).toBe('H100, driver 580, 78 GiB');
    expect(describeCard(nvidia, 1)).toBe('L4, driver 580');
    expect(explainNvidia(nvidia, 2)).toMatch(/no card 2: FINDERY_DEVICE takes 0 or 1/);
  });

  it("reads them from the kernel's files where nvidia-smi is missing or fails", async () => {
    write(
      'proc/driver/nvidia/version',
      'NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 2025\nGCC version: 13.3.0\n',
    );
    write('proc/driver/nvidia/gpus/0000:01:00.0/information', 'Model: \t\t NVIDIA L4\nIRQ: 30\n');
    const expected = {
      driver: '580.95.05',
      isCardInSlot: true,
      cards: [{ index: 0, name: 'L4', memoryMiB: null }],
    };
    expect(await readNvidia({ program: absent(), root })).toEqual(expected);
    const failing = nvidiaSmi('echo "NVIDIA-SMI has failed because ..."; exit 9');
    expect(await readNvidia({ program: failing, root })).toEqual(expected);
  });

  it('tells a card without a driver from no card', async () => {
    const nothing = await readNvidia({ program: absent(), root });
    expect(nothing).toEqual({ driver: null, cards: [], isCardInSlot: false });
    expect(explainNvidia(nothing, 0)).toMatch(/^no NVIDIA card and no driver are there/);
    write('sys/bus/pci/devices/0000:01:00.0/vendor', '0x10de\n');
    write('sys/bus/pci/devices/0000:01:00.0/class', '0x030200\n');
    const card = await readNvidia({ program: absent(), root });
    expect(card.isCardInSlot).toBe(true);
    expect(explainNvidia(card, 0)).toMatch(/card is there, but no driver: install NVIDIA's driver 580/);
  });
});

describe('explainNvidia', () => {
  it('refuses a driver that is too old for CUDA 13, and a driver without a card', () => {
    const cards = [{ index: 0, name: 'T4', memoryMiB: 15360 }];
    const state = (driver: string) => ({ driver, cards, isCardInSlot: true });
    expect(explainNvidia(state('575.57.08'), 0)).toMatch(/driver 575\.57\.08 is too old for CUDA 13.*580/);
    expect(explainNvidia(state('580.65.06'), 0)).toBeNull();
    expect(explainNvidia({ driver: '590.1', cards: [], isCardInSlot: true }, 0)).toMatch(/has no card/);
  });
});
