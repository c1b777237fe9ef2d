/** What is read from nats-server's log; its lines are recorded. That the real server writes them so: tests/hosts/hostile-worker.test.ts. */
import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { silentLog, type Log } from "../system/log.ts";
import { refusalIn, watchServerLog, type Refusal } from "./nats-log.ts";

const KEY = `U${"A".repeat(55)}`;
const OTHER = `U${"B".repeat(55)}`;
const line = (rest: string): string => `[25083] 2026/11/29 14:13:06.686549 [ERR] ${rest}`;
const USER = `"OCX/nkey:${KEY}"`;
const PUBLISHED = line(
  `100.64.0.12:51872 - cid:14 - "v3.4.0:javascript:evil" - Publish Violation - Nkey "${KEY}", Subject "ocx.up.nas.report"`,
);

describe("a line", () => {
  test.each<[string, string, Refusal | undefined]>([
    ["a foreign subject", PUBLISHED, { kind: "trespass", key: KEY, what: "wanted to publish ocx.up.nas.report" }],
    [
      "a foreign subject, as 2.15 says it",
      line(`127.0.0.1:4 - cid:15 - "v3.4.0:nats.js:ev\\"il - x" - ${USER} - Publish Violation - Subject "ocx.up.nas.report"`),
      { kind: "trespass", key: KEY, what: "wanted to publish ocx.up.nas.report" },
    ],
    [
      "a name like a user's (G1)",
      line(
        `127.0.0.1:4 - cid:15 - "v3.4.0:nats.js:x/nkey:${OTHER}" - ${USER} - Subscription Violation - Subject "foo.>", Queue: "q", SID 2`,
      ),
      { kind: "trespass", key: KEY, what: "wanted to listen to foo.>" },
    ],
    [
      "the same in an older one (G1)",
      line(`127.0.0.1:4 - cid:15 - "v3.4.0:nats.js:x/nkey:${OTHER}" - Publish Violation - Nkey "${KEY}", Subject "a"`),
      { kind: "trespass", key: KEY, what: "wanted to publish a" },
    ],
    [
      "a name that quotes a whole one (G1)",
      line(
        `1.2.3.4:5 - cid:1 - "x\\" - \\"OCX/nkey:${OTHER}\\" - Publish Violation - Subject \\"a" - ${USER} - Publish Violation - Subject "b"`,
      ),
      { kind: "trespass", key: KEY, what: "wanted to publish b" },
    ],
    [
      "a foreign subscription",
      line(`[fd7a::1]:1 - cid:1 - Subscription Violation - Nkey "${KEY}", Subject ">", Queue: "q", SID 5`),
      { kind: "trespass", key: KEY, what: "wanted to listen to >" },
    ],
    [
      "a foreign key",
      line(`100.64.0.13:5 - cid:1 - authentication error - Nkey "${KEY}"`),
      { kind: "guess", address: "100.64.0.13", key: KEY },
    ],
    ["no key", line("[fd7a:115c:a1e0::1]:5 - cid:1 - authentication error"), { kind: "guess", address: "fd7a:115c:a1e0::1" }],
    ["a password", line('100.64.0.13:5 - cid:1 - authentication error - User "admin"'), { kind: "guess", address: "100.64.0.13" }],
    ["a start", "[1] 2026/11/29 14:13:06.686549 [INF] Server is ready", undefined],
    ["another fault", line("100.64.0.13:5 - cid:1 - maximum payload exceeded: 1100000 vs 1048576"), undefined],
    [
      "a name that quotes a line (G1)",
      line(
        `1.2.3.4:5 - cid:1 - "x\\" - Publish Violation - Nkey \\"${OTHER}\\", Subject \\"a" - Publish Violation - Nkey "${KEY}", Subject "b"`,
      ),
      { kind: "trespass", key: KEY, what: "wanted to publish b" },
    ],
    [
      "a name that quotes one before another fault (G1)",
      line(`1.2.3.4:5 - cid:1 - "- Publish Violation - Nkey \\"${OTHER}\\", Subject \\"a\\"" - x`),
      undefined,
    ],
  ])("%s", (_what, text, refusal) => {
    expect(refusalIn(text)).toEqual(refusal);
  });

  test("a long subject is cut", () => {
    const { what } = refusalIn(PUBLISHED.replace("ocx.up.nas", "x".repeat(4_000))) as Refusal & { what: string };
    expect(what.length).toBeLessThan(120);
  });
});

describe("the file", () => {
  let folder: string;
  let file: string;
  let clock: HandClock;
  let seen: string[];
  let said: string[];
  let stop: () => void;
  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), "ocx-nats-log-"));
    file = path.join(folder, "nats-server.log");
    clock = new HandClock();
    seen = [];
    said = [];
  });
  afterEach(() => {
    stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const watch = async (): Promise<void> => {
    const refused = (refusal: Refusal): void => void seen.push(refusal.kind === "trespass" ? refusal.what : refusal.address);
    const log = { ...silentLog, warn: (_fields: unknown, message: string) => void said.push(message) } as Log;
    ({ stop } = await watchServerLog({ file, clock, log, refused }));
  };
  const publish = (subject: string): string => PUBLISHED.replace("ocx.up.nas.report", subject);
  /** One look for each move of the clock. */
  const expectSeen = (...subjects: string[]): Promise<void> =>
    vi.waitFor(() => {
      clock.advance(1_000);
      expect(seen).toEqual(subjects.map((subject) => `wanted to publish ${subject}`));
    });

  test("what was there before is not told; what comes is told once, whole lines only", async () => {
    writeFileSync(file, `${publish("before")}\n`);
    await watch();
    appendFileSync(file, `${publish("one")}\n${publish("tw")}`.slice(0, -1));
    await expectSeen("one");
    appendFileSync(file, `${publish("tw").slice(-1)}\n`);
    await expectSeen("one", "tw");
  });

  test("a file that comes later, and one that was begun anew", async () => {
    await watch();
    writeFileSync(file, `${"x".repeat(500)}\n${publish("one")}\n`);
    await expectSeen("one");
    truncateSync(file);
    writeFileSync(file, `${publish("two")}\n`);
    await expectSeen("one", "two");
  });

  test("of more than a look takes, the end counts, and that there was more is told (G2)", async () => {
    await watch();
    writeFileSync(file, `${publish("lost")}\n${"x".repeat(200_000)}\n${publish("kept")}\n`);
    await expectSeen("lost", "kept");
    expect(said).toEqual([]);
    appendFileSync(file, `${publish("lost again")}\n${"x".repeat(300_000)}\n${publish("the end")}\n`);
    await expectSeen("lost", "kept", "the end");
    expect(said).toEqual([expect.stringContaining("passed over")]);
  });
});
