import { cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { openClient } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { startDaemon } from "./daemon.ts";
import { startTestEtcd } from "../tests/support/etcd.ts";
import { foldersOf } from "../cluster/src/system/folders.ts";
const T0 = performance.now();
const say = console.log.bind(console);
console.log = (...x: unknown[]) => say(Math.round(performance.now() - T0), ...x);
const etcd = await startTestEtcd();
const folder = await mkdtemp(path.join(tmpdir(), "ha-try-"));
const homeA = path.join(folder, "a"),
  homeB = path.join(folder, "b"),
  homeW = path.join(folder, "w");
const settings = (nodeId: string) => ({
  nodeId,
  roles: ["coordinator", "worker"],
  slots: 4,
  api: { port: 0 },
  nats: { port: 0 },
  openclaw: { enabled: "off" },
  log: { level: "debug" },
  store: { kind: "etcd", endpoints: [...etcd.urls] },
});
const a = await startDaemon(homeA, settings("a"));
console.log("a up", a.apiUrl);
const token = (await readFile(path.join(homeA, "admin.token"), "utf8")).trim();
const ca = openClient({ url: a.apiUrl!, token, transport: nodeTransport() });
console.log(JSON.stringify(await ca.cluster()));
const fa = foldersOf(homeA),
  fb = foldersOf(homeB);
await mkdir(fb.data, { recursive: true, mode: 0o700 });
for (const k of ["coordinatorSeed", "authority", "authorityKey"] as const) {
  const f = (fa as any)[k];
  if (f) await cp(f, (fb as any)[k]).catch((e) => console.log(k, String(e)));
}
console.log(Object.keys(fa).join(" "));
const b = await startDaemon(homeB, settings("b"));
console.log("b up", b.apiUrl);
const cb = openClient({ url: b.apiUrl!, token, transport: nodeTransport() });
const t = await cb.submitMany(Array.from({ length: 50 }, (_, n) => ({ kind: "echo" as const, input: { value: n } })));
console.log("submitted through b", t.length);
const ends = await Promise.all(t.map(({ id }) => cb.getTask({ id, wait: 20 })));
for (const x of ends) if (x.state !== "succeeded") console.log(JSON.stringify(x));
console.log(
  "ends",
  ends.filter((x) => x.state === "succeeded").length,
  JSON.stringify((await cb.nodes()).nodes.map((n) => [n.id, n.state])),
);
console.log("b view", JSON.stringify(await cb.cluster()));
for (let round = 0; round < 3; round++) {
  const at = performance.now();
  await a.process.end("SIGKILL");
  for (;;) {
    try {
      const x = await cb.submit({ kind: "echo", input: { value: "after" } });
      console.log("accepted after", Math.round(performance.now() - at), "ms", x.id);
      const e = await cb.getTask({ id: x.id, wait: 20 });
      console.log(e.state, Math.round(performance.now() - at));
      break;
    } catch (e) {
      console.log(String(e).slice(0, 120));
      await new Promise((r) => setTimeout(r, 200));
    }
  }
  break;
}
const at = performance.now();
const a2 = await startDaemon(homeA, settings("a"));
console.log("a back in", Math.round(performance.now() - at), a2.apiUrl);
const ca2 = openClient({ url: a2.apiUrl!, token, transport: nodeTransport() });
console.log("a lists", (await ca2.listTasks({ limit: 5 })).tasks.length);
const at2 = performance.now();
const stopping = b.process.end("SIGTERM");
const x = await ca2.submit({ kind: "echo", input: { value: "handed over" } });
console.log("handed over", Math.round(performance.now() - at2), x.id);
await stopping;
console.log("b ended after", Math.round(performance.now() - at2));
const e = await ca2.getTask({ id: x.id, wait: 20 });
console.log(e.state, Math.round(performance.now() - at2));
await ca.close();
await cb.close();
await ca2.close();
await a2.process.end();
await etcd.stop();
await rm(folder, { recursive: true, force: true });
