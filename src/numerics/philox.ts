/** Multipliers of counter words 0 and 2. */
const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;

/**
 * Increments of the two key words per round, as Weyl sequences: the golden ratio and sqrt(3) - 1.
 */
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;

const ROUNDS = 10;

/**
 * Upper 32 bits of the 64-bit product of two 32-bit words. The product does not fit a double, so it
 * is formed from 16-bit parts; every partial sum fits 32 bits and stays an integer.
 */
function highWord(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const carry = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (carry >>> 16)) | 0;
}

/**
 * Philox 4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy
 * as 1, 2, 3" (SC 2011, section 4.3): 128 random bits as a pure function of a 128-bit counter and a
 * 64-bit key. Any part of any noise can therefore be computed alone, in any order, on any machine.
 * The results agree with the known-answer vectors of Random123.
 *
 * @param counter0 first of four counter words; words are taken modulo 2^32
 * @param key0 first of two key words, modulo 2^32
 * @param out receives the four random words, each in [0, 2^32 - 1]
 */
export function philox4x32(
  counter0: number,
  counter1: number,
  counter2: number,
  counter3: number,
  key0: number,
  key1: number,
  out: Uint32Array,
): void {
  let c0 = counter0 | 0;
  let c1 = counter1 | 0;
  let c2 = counter2 | 0;
  let c3 = counter3 | 0;
  let k0 = key0 | 0;
  let k1 = key1 | 0;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = highWord(c0, MULTIPLIER_0);
    const high1 = highWord(c2, MULTIPLIER_1);
    const low0 = Math.imul(c0, MULTIPLIER_0);
    const low1 = Math.imul(c2, MULTIPLIER_1);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + WEYL_0) | 0;
    k1 = (k1 + WEYL_1) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}
