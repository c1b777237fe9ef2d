import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { expect, test, vi } from "vitest";
import { openLog } from "./log.ts";
import { redact } from "./redact.ts";

const id = "abcdefgh";
const token = `occ_${id}_${randomBytes(32).toString("base64url")}`;
const seed = `SU${"ABCDEFGH234567IJKLMNOPQRSTUVWXYZ".repeat(2).slice(0, 56)}`;

test.each([
  ["an API token, but for its public id", `no ${token} here`, `no occ_${id}_… here`],
  ["a join code", `join ocj1_${"aZ0_-".repeat(30)}`, "join ocj1_…"],
  ["a node's seed", `${seed}\n`, "S…\n"],
  ["a private key", "-----BEGIN PRIVATE KEY-----\\nMC4CAQAw\\n-----END PRIVATE KEY-----", "PRIVATE KEY …"],
  ["user and password of an address", "nats://ann:pa55@studio:4222/x", "nats://…@studio:4222/x"],
  ["a query's and a fragment's secret", "ws://h/?a=1&access_token=abc&b=2#token=def", "ws://h/?a=1&access_token=…&b=2#token=…"],
  ["a header", "authorization: Bearer abcdefgh.ijk", "authorization: Bearer …"],
])("%s goes", (_what, text, clean) => {
  expect(redact(text)).toBe(clean);
});

test.each([
  "The OpenClaw Gateway at ws://127.0.0.1:18789 is not reachable: connect ECONNREFUSED.",
  "no token for http://studio:8888, and there is no /home/ann/.openclaw/cluster/admin.token",
  "ann@studio wrote to /tasks?label=batch=7&state=queued",
  "UABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSTUVW2",
  "the bearer of this message; basic training",
])("%j stays", (text) => {
  expect(redact(text)).toBe(text);
});

test("the log holds none, also where it hides in an error's cause, and every line stays JSON", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "redact-"));
  const file = path.join(folder, "a.log");
  try {
    const { log } = openLog({ level: "debug", file });
    const cause = new Error(`GET http://ann:pa55word@h/?token=pa55word "${token}"`);
    log.error({ err: new ClusterError("internal", "no answer", { cause }), seed, token }, `with ${seed}`);
    await vi.waitFor(() => expect(readFileSync(file, "utf8")).toContain("no answer"));
    const text = readFileSync(file, "utf8");
    for (const secret of ["pa55word", token.slice(13), seed]) expect(text).not.toContain(secret);
    expect(JSON.parse(text)).toMatchObject({ msg: "with S…", err: { message: expect.stringContaining(`occ_${id}_…`) } });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
