/** Much of nothing, as large as a message may be: what a schema would complain of for seconds. */

export const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);

/** Lists within lists. */
export const nested = (levels: number): unknown => JSON.parse(`${"[".repeat(levels)}${"]".repeat(levels)}`);

export const fields = (count: number): object => Object.fromEntries(zeros(count).map((_, n) => [`k${n}`, n]));
