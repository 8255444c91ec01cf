/**
 * Rounds as numpy and torch do: halves go to the even neighbour. With the halves of `Math.round`, a
 * model would be evaluated at other timesteps than in diffusers.
 */
export function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
