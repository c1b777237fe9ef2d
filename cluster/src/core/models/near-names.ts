/**
 * Names that somebody may have meant who wrote another: those that begin or go on as it does, then those that a few
 * letters away are the same. Case does not count.
 *
 * N1. The cost is bounded whatever is asked and however many names there are.
 */

/** As many as a person reads in an error message. */
export const NEAR_NAMES_MAX = 5;
/** N1: names that are looked at, and letters of each: model ids differ early, and distance costs the product of lengths. */
const LOOKED_AT_MAX = 2_000;
const LETTERS_MAX = 64;
/** A third of the letters wrong is a typing error or another size of the same model; more is another model. */
const WRONG_SHARE_MAX = 1 / 3;
/** Two or three letters begin too many names to tell anything. */
const PREFIX_MIN = 3;

/** The nearest first; equals in the order of their names. */
export function nearNames(asked: string, names: Iterable<string>): string[] {
  const wanted = asked.slice(0, LETTERS_MAX).toLowerCase();
  const found: { name: string; distance: number }[] = [];
  let looked = 0;
  for (const name of new Set(names)) {
    if (++looked > LOOKED_AT_MAX) break;
    const distance = distanceTo(wanted, name.slice(0, LETTERS_MAX).toLowerCase());
    if (distance !== undefined) found.push({ name, distance });
  }
  found.sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1));
  return found.slice(0, NEAR_NAMES_MAX).map(({ name }) => name);
}

/** undefined: too far. Part of one another is less than one wrong letter. */
function distanceTo(wanted: string, name: string): number | undefined {
  const longer = Math.max(wanted.length, name.length);
  if (Math.min(wanted.length, name.length) >= PREFIX_MIN) {
    const gap = Math.abs(wanted.length - name.length) / longer;
    if (name.startsWith(wanted) || wanted.startsWith(name)) return gap / 2;
    if (name.includes(wanted) || wanted.includes(name)) return (1 + gap) / 2;
  }
  const max = Math.max(1, Math.floor(longer * WRONG_SHARE_MAX));
  if (Math.abs(wanted.length - name.length) > max) return undefined;
  const distance = editDistance(wanted, name);
  return distance <= max ? distance : undefined;
}

/** Levenshtein's, in two rows. */
export function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const line = [row];
    for (let column = 1; column <= b.length; column++) {
      const change = (above[column - 1] as number) + (a[row - 1] === b[column - 1] ? 0 : 1);
      line.push(Math.min(change, (above[column] as number) + 1, (line[column - 1] as number) + 1));
    }
    above = line;
  }
  return above[b.length] as number;
}
