import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A GPU of NVIDIA. */
export interface Card {
  /** Its number: FINDERY_DEVICE. */
  readonly index: number;
  /** Name such as `H100`. */
  readonly name: string;
  /** Its memory; null: unknown. */
  readonly memoryMiB: number | null;
}

/** What is known of NVIDIA's driver and cards on this machine. */
export interface Nvidia {
  /** Version such as `580.95.05`; null: no driver is loaded. */
  readonly driver: string | null;
  /** Cards that the driver serves. */
  readonly cards: readonly Card[];
  /** Whether a card is in a slot, with or without a driver. */
  readonly isCardInSlot: boolean;
}

/** The first driver for CUDA 13, which the pinned libraries are built for. */
export const MIN_DRIVER = 580;

const QUERY = ['--query-gpu=index,name,driver_version,memory.total', '--format=csv,noheader,nounits'];
/** The driver may take long when no other process uses the card. */
const QUERY_TIMEOUT_MS = 30_000;

/**
 * Reads driver and cards from nvidia-smi, or without it from the kernel's files.
 * @param program nvidia-smi
 * @param root the root of `/proc` and `/sys`
 */
export async function readNvidia({
  program = 'nvidia-smi',
  root = '/',
}: {
  readonly program?: string;
  readonly root?: string;
} = {}): Promise<Nvidia> {
  const kernel = await readKernel(root);
  const { stdout } = await promisify(execFile)(program, QUERY, { timeout: QUERY_TIMEOUT_MS }).catch(() => ({
    stdout: '',
  }));
  const rows = stdout
    .split('\n')
    .map((line) => line.split(',').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 4 && /^\d+$/.test(cells[0]));
  if (rows.length === 0) return kernel;
  return {
    driver: rows[0][2],
    isCardInSlot: true,
    cards: rows.map(([index, name, , memory]) => ({
      index: Number(index),
      name: shortName(name),
      memoryMiB: /^\d+$/.test(memory) ? Number(memory) : null,
    })),
  };
}

async function readKernel(root: string): Promise<Nvidia> {
  const folder = join(root, 'proc', 'driver', 'nvidia');
  const version = await readFile(join(folder, 'version'), 'utf8').catch(() => '');
  const slots = await readdir(join(folder, 'gpus')).catch(() => []);
  const cards = await Promise.all(
    slots.sort().map(async (slot, index) => {
      const text = await readFile(join(folder, 'gpus', slot, 'information'), 'utf8').catch(() => '');
      const name = /^Model:\s*(.+)$/m.exec(text)?.[1] ?? 'NVIDIA GPU';
      return { index, name: shortName(name), memoryMiB: null };
    }),
  );
  const driver = / (\d+\.\d+(?:\.\d+)?) /.exec(version)?.[1] ?? null;
  return { driver, cards, isCardInSlot: cards.length > 0 || (await hasCardInSlot(root)) };
}

/** Whether the PCI bus has a display controller (class 03) of NVIDIA (vendor 10de). */
async function hasCardInSlot(root: string): Promise<boolean> {
  const folder = join(root, 'sys', 'bus', 'pci', 'devices');
  for (const slot of await readdir(folder).catch(() => [])) {
    const read = (file: string) => readFile(join(folder, slot, file), 'utf8').catch(() => '');
    if ((await read('vendor')).trim() === '0x10de' && (await read('class')).startsWith('0x03')) return true;
  }
  return false;
}

/** `NVIDIA H100 80GB HBM3` as `H100`. */
function shortName(name: string): string {
  return name.replace(/^NVIDIA /, '').replace(/ \d+ ?GB.*$/, '');
}

/**
 * Says why CUDA can't run on a machine, with what to do.
 * @param device number of the card (FINDERY_DEVICE)
 * @returns null if driver and card are fit
 */
export function explainNvidia({ driver, cards, isCardInSlot }: Nvidia, device: number): string | null {
  const pass =
    'in a container, start it with the GPU (docker run --gpus all, with the NVIDIA Container Toolkit)';
  const wanted = `NVIDIA's driver ${MIN_DRIVER} or newer`;
  if (driver === null)
    return isCardInSlot
      ? `an NVIDIA card is there, but no driver: install ${wanted}; ${pass}`
      : `no NVIDIA card and no driver are there: use a machine with a card and ${wanted}; ${pass}`;
  if (Number.parseInt(driver, 10) < MIN_DRIVER)
    return `the driver ${driver} is too old for CUDA 13: install ${wanted}`;
  if (cards.length === 0) return `the driver ${driver} has no card: nvidia-smi says why; ${pass}`;
  if (!cards.some(({ index }) => index === device))
    return `there is no card ${device}: FINDERY_DEVICE takes ${cards.map(({ index }) => index).join(' or ')}`;
  return null;
}

/** Card, driver and memory, such as `H100, driver 580, 79 GiB`. */
export function describeCard({ driver, cards }: Nvidia, device: number): string {
  const card = cards.find(({ index }) => index === device);
  const memory = card?.memoryMiB ? `${Math.floor(card.memoryMiB / 1024)} GiB` : '';
  return [card?.name, `driver ${Number.parseInt(driver ?? '', 10)}`, memory].filter(Boolean).join(', ');
}
