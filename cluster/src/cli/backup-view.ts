/** Backups as a table. */
import type { Backup } from "@openclaw-cluster/contract/cluster";
import { table } from "./table.ts";
import type { Terminal } from "./terminal.ts";
import { age, dayAndTime, mebibytes } from "./time.ts";

export const size = (bytes: number): string => mebibytes(bytes / 1_048_576);

export function backupTable(terminal: Terminal, backups: readonly Backup[], now: number): string {
  return table(terminal, backups, [
    { title: "NAME", value: ({ name }) => name },
    { title: "TAKEN", value: ({ at }) => dayAndTime(at) },
    { title: "AGE", value: ({ at }) => age(at, now), right: true },
    { title: "SIZE", value: ({ bytes }) => size(bytes), right: true },
    { title: "", value: ({ keepsLayout }) => (keepsLayout === undefined ? "" : "before an upgrade") },
  ]);
}
