/**
 * The places of the user's that a sandbox shows, beside the system itself: what a rule names, the working folder, and the
 * program where it lies in a hidden place. Commands of other tasks may be at work in them, and mean no good.
 *
 * P1. A place is what its path names without a link (open-place.ts), opened once and bound by that descriptor: nobody can
 *     put another one under it meanwhile. A link on the way refuses the command, also where a sandbox is only preferred.
 * P2. What may be written never holds a hidden place: whoever may rename the folders around it could take it out of hiding.
 * P3. The way to it inside the sandbox is as firm. Below a folder in which others may write, it leads through an empty one
 *     that covers that folder, or it has no part that they could make a link.
 */
import { closeSync } from "node:fs";
import path from "node:path";
import { openPlace } from "./open-place.ts";
import type { Program } from "./program.ts";

export interface Shown {
  /** The attempt's own. */
  readonly folder: string;
  /** With links followed. */
  readonly cwd: string;
  readonly program: Program;
  readonly network: boolean;
  readonly folders: readonly string[];
  readonly reads: readonly string[];
  /** Wherever the policy lets commands write: what lies below may be another's doing. */
  readonly writable: readonly string[];
}

/** What a sandbox does in any case. */
export interface Kept {
  /** Folders that it covers. */
  readonly hidden: readonly string[];
  /** P2 */
  readonly secrets: readonly string[];
}

export interface Mount {
  /** Where it appears. */
  readonly at: string;
  readonly descriptor: number;
  readonly written: boolean;
}

export interface Places {
  readonly kind: "open";
  /** In order: what may be written comes last, and may lie in what may only be read. */
  readonly mounts: readonly Mount[];
  readonly seen: readonly string[];
  /** P3: to be covered before. */
  readonly covers: readonly string[];
  close(): void;
}

/** A sandbox of this would not hold. */
export interface Unsafe {
  readonly kind: "unsafe";
  readonly reason: string;
}

interface Wanted {
  readonly at: string;
  readonly source: string;
  readonly written: boolean;
}

export function openPlaces(shown: Shown, kept: Kept): Places | Unsafe {
  const cwd = isWithin(shown.cwd, shown.folder) ? [] : [shown.cwd];
  const written = outermost((shown.folders.length > 0 ? shown.folders : cwd).map((place) => path.resolve(place)));
  const seen = outermost([...shown.reads, ...cwd].map((place) => path.resolve(place))).filter((place) => !isWithinAny(place, written));
  for (const place of written) {
    const secret = kept.secrets.find((one) => isWithin(one, place));
    if (secret !== undefined) return unsafe(`a sandbox that may write to ${place} could uncover ${secret}; name folders within it`);
  }
  const covers = coversOf(shown, kept.hidden, { written, seen });
  if ("kind" in covers) return covers;
  const { file, real } = shown.program;
  const programs = [...new Set([real, file])].filter(
    (at) => isWithinAny(at, [...kept.hidden, ...covers]) && !isWithinAny(at, [...written, ...seen]),
  );
  const wanted: Wanted[] = [
    ...seen.map((at) => ({ at, source: at, written: false })),
    ...programs.map((at) => ({ at, source: real, written: false })),
    ...written.map((at) => ({ at, source: at, written: true })),
  ];
  const mounts: Mount[] = [];
  const close = (): void => mounts.splice(0).forEach(({ descriptor }) => closeSync(descriptor));
  for (const { at, source, written: isWritten } of wanted) {
    const opened = openPlace(source);
    if (opened.kind === "open") mounts.push({ at, descriptor: opened.descriptor, written: isWritten });
    const fault = faultOf(opened, source, shown);
    if (fault === undefined) continue;
    close();
    return unsafe(fault);
  }
  return { kind: "open", mounts, seen, covers, close };
}

/** What a rule names need not be there; what was found a moment ago has to be what it was. */
function faultOf(opened: ReturnType<typeof openPlace>, source: string, { cwd, program }: Shown): string | undefined {
  if (opened.kind === "link") return `${opened.at} is a link, and a sandbox shows nothing by a link; name the place that is meant`;
  if (source === program.real) return opened.kind === "open" && !opened.isFolder ? undefined : `${source} is no program any more`;
  if (source === cwd) return opened.kind === "open" && opened.isFolder ? undefined : `${source} is no folder any more`;
  return undefined;
}

/** P3: the folders to be covered, outermost ones, in which others may write and of which only a part is shown. */
function coversOf(
  { writable }: Shown,
  hidden: readonly string[],
  { written, seen }: { readonly written: readonly string[]; readonly seen: readonly string[] },
): readonly string[] | Unsafe {
  const grounds = outermost(writable.map((place) => path.resolve(place)));
  const covers = new Set<string>();
  for (const place of [...written, ...seen]) {
    const ground = grounds.find((one) => one !== place && isWithin(place, one));
    if (ground === undefined) continue;
    const around = seen.find((one) => one !== place && isWithin(place, one));
    if (around !== undefined) {
      // bubblewrap itself sees to it that the last part is no link.
      const firm = isWithin(ground, around) ? ground : around;
      if (path.dirname(place) === firm) continue;
      return unsafe(`${place} lies too deep in ${firm}, which is shown too and in which other commands may write; show one of them`);
    }
    if (isWithinAny(place, hidden)) continue;
    if (ground === "/") return unsafe("commands may write everywhere, so no folder is safe to be shown; name narrower ones in allow.cwds");
    covers.add(ground);
  }
  return [...covers];
}

const unsafe = (reason: string): Unsafe => ({ kind: "unsafe", reason });

export const isWithin = (place: string, folder: string): boolean => place === folder || folder === "/" || place.startsWith(`${folder}/`);
export const isWithinAny = (place: string, folders: readonly string[]): boolean => folders.some((folder) => isWithin(place, folder));

/** Without those that lie in another of them. */
export function outermost(places: readonly string[]): string[] {
  return [...new Set(places)].filter((place, _index, all) => !all.some((other) => other !== place && isWithin(place, other)));
}
