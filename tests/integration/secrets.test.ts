/**
 * I12: no secret in a database, a log or a message. Real daemons with a real Gateway do what a cluster does, are asked what
 * they should not answer, and are killed; then every secret of theirs is looked for, in whatever form, in everything that
 * they wrote, sent, answered, said and started. POSIX only, for the script before nats-server.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { act, MARK } from "../support/secret-acts.ts";
import { findHolders, type Holders } from "../support/secret-holders.ts";
import { bytesOf, filesBelow, rightsOf, searchFor, type Place, type Search } from "../support/secret-search.ts";
import { openStage, type Stage } from "../support/secret-stage.ts";

const ACTS_MS = 600_000;

let stage: Stage;
let holders: Holders;
let search: Search;
/** Files while all is at work, write-ahead logs among them. */
let atWork: readonly Place[];

const filesNow = (): Place[] =>
  [stage.cluster.folder, stage.folder, stage.reports].flatMap(filesBelow).map((file) => ({ name: file, bytes: bytesOf(file) }));

/** Places in which something is that should not be there. */
const leaks = (places: readonly Place[]): object[] =>
  places.flatMap(({ name, bytes }) => {
    const findings = holders.files.has(name) ? [] : search(bytes);
    return findings.length === 0 ? [] : [{ name, findings }];
  });

/** So that nobody looks where nothing is. */
const marked = (places: readonly Place[], name: RegExp): number =>
  places.filter((place) => name.test(place.name) && place.bytes.includes(MARK)).length;

describe.skipIf(process.platform === "win32")("I12: after everything that a cluster does, crashes included, no secret is", () => {
  beforeAll(async () => {
    stage = await openStage();
    await act(stage);
    holders = await findHolders(stage);
    search = searchFor(holders.secrets);
    atWork = filesNow();
    for (const daemon of [stage.joined, stage.studio, stage.cluster.lead]) {
      await daemon.stop();
      await stage.keepWords(daemon);
    }
  }, ACTS_MS);
  afterAll(() => stage?.end());

  test("in a file: databases, their write-ahead logs, backups, logs, the bus's streams, reports of a crash", () => {
    expect(leaks(atWork)).toEqual([]);
    expect(leaks(filesNow())).toEqual([]);
    for (const kind of [/cluster\.db(-wal)?$/, /backups.*\.db$/, /\.blk$/]) expect(marked(atWork, kind)).toBeGreaterThan(0);
    const logs = atWork.filter(({ name }) => /logs.openclaw-cluster-.*\.log$/.test(name));
    expect(logs.filter(({ bytes }) => bytes.length > 0).length).toBeGreaterThanOrEqual(3);
  });

  test("in a message on the bus", () => {
    const traces = atWork.filter(({ name }) => /nats-server\.log/.test(name));
    expect(leaks(traces)).toEqual([]);
    expect(marked(traces, /./)).toBeGreaterThan(0);
    for (const kind of ["heartbeat", "offer", "report"]) expect(traces.some(({ bytes }) => bytes.includes(kind))).toBe(true);
  });

  test("in an answer of the API, headers and streams included", () => {
    const { answers } = stage.recorder;
    expect(leaks([{ name: "answers", bytes: answers }])).toEqual([]);
    for (const part of [MARK, "text/event-stream", "HTTP/1.1 401", "HTTP/1.1 400", "HTTP/1.1 429", "openapi"])
      expect({ part, there: answers.includes(part) }).toEqual({ part, there: true });
  });

  test("in the words of a command or a daemon", () => {
    expect(leaks(stage.words)).toEqual([]);
    expect(marked(stage.words, /^show|^logs/)).toBeGreaterThan(0);
    expect(stage.words.filter(({ name }) => name.startsWith("daemon in"))).toHaveLength(6);
  });

  test.runIf(process.platform === "linux")("in a command line, or in the environment of what a daemon starts", () => {
    expect(leaks(stage.processes)).toEqual([]);
    for (const part of ["nats-server", "gdbus", "sleep", "OPENCLAW_CLUSTER_TASK"])
      expect({ part, there: stage.processes.some(({ bytes }) => bytes.includes(part)) }).toEqual({ part, there: true });
  });

  test("but in the files that are there for them, which are closed to others", () => {
    for (const [file, secret] of holders.files) {
      const known = search(bytesOf(file)).filter((finding) => !finding.endsWith("by its form"));
      const foreign = known.filter((finding) => !finding.startsWith(secret));
      expect({ file, found: known.length > 0, foreign, rights: rightsOf(file) }).toEqual({ file, found: true, foreign: [], rights: "600" });
    }
    const { cluster, studio, joined } = stage;
    for (const { home } of [cluster.lead, studio, joined]) {
      const folders = [home, ...["data", "logs", "backups", "data/nats", "data/worker"].map((name) => path.join(home, name))];
      for (const folder of folders.filter(existsSync)) expect({ folder, rights: rightsOf(folder) }).toEqual({ folder, rights: "700" });
    }
  });
});
