/** Version numbers of the programs that we run: `2.15.1`, as it stands somewhere in what `--version` prints. */

/** The first version number in the text. What follows it (`-RC.1`, a build) does not count. */
export function findVersion(text: string): string | undefined {
  return /\d+\.\d+\.\d+/.exec(text)?.[0];
}

export function isAtLeast(version: string, floor: string): boolean {
  return compareVersions(version, floor) >= 0;
}

/** Negative when `a` is the older one. */
export function compareVersions(a: string, b: string): number {
  const left = a.split(".").map(Number);
  const right = b.split(".").map(Number);
  for (let i = 0; i < 3; i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
