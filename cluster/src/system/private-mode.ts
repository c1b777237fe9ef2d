/** Can other users of this machine read or write what has this mode? Never so on Windows: there the user's profile is closed by its access list. */
export function isOpenToOthers(mode: number): boolean {
  return process.platform !== "win32" && (mode & 0o077) !== 0;
}
