/** What a node has said that did harm. It comes first in every campaign, as it is. */
import { fields, zeros } from "./many.ts";

const LOAD = { cpu: 0, memoryFreeMiB: 1, diskFreeMiB: 1, running: 0, held: 0 };
const HEARTBEAT = { node: "evil", boot: 1, n: 1, load: LOAD, held: [] };
const REPORT = { boot: 1, n: 1, started: [], progressed: [], finished: [] };

interface BadNews {
  readonly report: boolean;
  readonly body: unknown;
}

export const KNOWN_BAD_NEWS: readonly BadNews[] = [
  // A megabyte of zeros, where records belong: seconds of complaints, and a line of 88 MB in the log.
  { report: false, body: { ...HEARTBEAT, held: zeros(500_000) } },
  { report: false, body: { ...HEARTBEAT, facts: { skills: zeros(500_000) } } },
  { report: false, body: { ...HEARTBEAT, facts: { labels: fields(60_000) } } },
  { report: true, body: { ...REPORT, started: zeros(500_000) } },
  { report: true, body: { ...REPORT, finished: zeros(500_000) } },
  { report: true, body: { ...REPORT, progressed: [{ task: "t1", attempt: 1, epoch: 1, progress: zeros(400_000) }] } },
  { report: true, body: "x".repeat(900_000) },
];
