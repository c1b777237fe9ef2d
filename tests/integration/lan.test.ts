/**
 * Machines of one local network, as network namespaces with private addresses and no shared loopback. The coordinator listens
 * there over TLS; a code from it is enough for another machine, and nothing else is: neither plain HTTP nor plain NATS, nor a man
 * in the middle with a certificate of his own.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readJoinCode } from "../../cluster/src/trust/join-code.ts";
import { run, type ProcessEnd, type Running } from "../../scripts/child.ts";
import { natsPortOf, runCommand, startDaemon, type StartedDaemon } from "../../scripts/daemon.ts";
import { makeAuthority } from "../support/authority.ts";
import { openHosts, whyNoHosts, type Host, type Hosts } from "../support/hosts.ts";

const [LEAD, NAS, MIDDLE] = ["192.168.77.1", "192.168.77.2", "192.168.77.3"];
const LISTENER = fileURLToPath(new URL("../support/tls-listener.child.ts", import.meta.url));
const QUIET = { OPENCLAW_CLUSTER_OPENCLAW: "off" };

/** A connection that says these words, and what came back until it was closed, or nothing more came. */
const SAY = `const [host, port, words] = process.argv.slice(1);
  const socket = require("node:net").connect(port, host, () => socket.write(words));
  let told = "";
  socket.on("data", (piece) => (told += piece.toString("latin1")));
  socket.on("error", () => socket.destroy());
  socket.on("close", () => console.log(JSON.stringify(told)));`;

describe.skipIf(whyNoHosts() !== undefined)("in a local network", () => {
  let hosts: Hosts;
  let lead: Host;
  let nas: Host;
  let middle: Host;
  let folder: string;
  let coordinator: StartedDaemon;
  let url: string;
  const homes: Record<"lead" | "nas" | "stranger", string> = { lead: "", nas: "", stranger: "" };
  const running: Running[] = [];
  beforeAll(async () => {
    hosts = await openHosts();
    [lead, nas, middle] = [await hosts.add("lead", []), await hosts.add("nas", []), await hosts.add("middle", [])];
    for (const [host, address] of [
      [lead, LEAD],
      [nas, NAS],
      [middle, MIDDLE],
    ] as const)
      await inside(host, "ip", "address", "add", `${address}/24`, "dev", "eth0").output();
    folder = await mkdtemp(path.join(tmpdir(), "ocx-lan-"));
    for (const name of ["lead", "nas", "stranger"] as const) homes[name] = path.join(folder, name);
    const settings = { nodeId: "lead", api: { host: "lan", port: 0 }, nats: { port: 0 }, log: { level: "info" } };
    coordinator = await startDaemon(homes.lead, settings, { under: lead.inside, env: QUIET });
    running.push(coordinator.process);
    url = coordinator.apiUrl as string;
  });
  afterAll(async () => {
    for (const one of running.toReversed()) await one.end("SIGTERM");
    await hosts?.end();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  });

  function inside(host: Host, ...argv: string[]): Running {
    const [program = "", ...all] = [...host.inside, ...argv];
    return run(program, all);
  }
  const cli = (host: Host, home: string, ...argv: string[]): Promise<ProcessEnd> =>
    runCommand(argv, { under: host.inside, env: { ...QUIET, OPENCLAW_CLUSTER_HOME: home } }).ended();
  const onLead = (...argv: string[]): Promise<ProcessEnd> => cli(lead, homes.lead, ...argv);
  const makeCode = async (): Promise<string> =>
    (JSON.parse((await onLead("invite", "--approve", "--json")).stdout) as { code: string }).code;
  const say = async (port: number | string, words: string): Promise<string> =>
    JSON.parse(await inside(nas, process.execPath, "-e", SAY, LEAD as string, String(port), words).output()) as string;

  /** What a man in the middle hears at an address of his own. */
  async function intercept(cert: string, key: string): Promise<{ url: string; end(): Promise<{ connections: number; heard: string }> }> {
    const [certFile, keyFile] = [path.join(folder, "middle.pem"), path.join(folder, "middle.key")];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key, { mode: 0o600 });
    const wanted = JSON.stringify({ host: MIDDLE, certFile, keyFile });
    // The kernel ends it with this process, however that ends.
    const listener = inside(middle, "setpriv", "--pdeathsig", "KILL", "--", process.execPath, LISTENER, wanted);
    const port = await listener.says(/listening on (\d+)/);
    return {
      url: `https://${MIDDLE}:${port}`,
      async end() {
        await listener.end("SIGTERM");
        const { stdout } = await listener.ended();
        return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as { connections: number; heard: string };
      },
    };
  }

  test("API and nats-server listen on the private address, over TLS, and nothing else does off the loopback", async () => {
    expect(url).toMatch(new RegExp(`^https://${LEAD}:\\d+$`));
    const listening = await inside(lead, "ss", "-Hltn").output();
    const addresses = listening
      .split("\n")
      .filter(Boolean)
      .map((line) => (line.trim().split(/\s+/)[3] ?? "").replace(/:\d+$/, ""));
    // The endpoint for models is this machine's own.
    expect(addresses.toSorted((a, b) => a.localeCompare(b))).toEqual(["127.0.0.1", LEAD, LEAD]);
    const conf = await readFile(path.join(homes.lead, "data", "nats", "nats.conf"), "utf8");
    expect(conf).toMatch(/^tls \{$/m);
  });

  test("plain HTTP and plain NATS are told nothing", async () => {
    const answers = [
      await say(new URL(url).port, `GET /healthz HTTP/1.1\r\nHost: ${LEAD}\r\n\r\n`),
      await say(await natsPortOf(homes.lead), 'CONNECT {"verbose":true}\r\nPING\r\n'),
    ];
    // An alert of TLS is seven bytes.
    for (const answer of answers) {
      expect(answer.length).toBeLessThanOrEqual(7);
      expect(answer).not.toMatch(/HTTP|INFO|PONG/);
    }
  });

  test("a man in the middle with another authority hears no byte of a join", async () => {
    const other = makeAuthority();
    const { chain, key } = other.certify([MIDDLE as string, LEAD as string], Date.now());
    const own = chain.slice(0, chain.indexOf("-----BEGIN", 1));
    const genuine = await readFile(path.join(homes.lead, "data", "authority.pem"), "utf8");
    for (const shown of [chain, own + genuine]) {
      const interceptor = await intercept(shown, key);
      const refused = await cli(nas, homes.stranger, "join", await makeCode(), "--node-id", "nas", "--url", interceptor.url, "--no-start");
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("(certificate_refused)") as string });
      const { connections, heard } = await interceptor.end();
      expect(connections).toBeGreaterThan(0);
      expect(heard).toBe("");
    }
    expect((await onLead("nodes")).stdout).not.toContain("nas");
  });

  test("a machine joins with a code alone, and works; the command line there needs a token and no file", async () => {
    const code = await makeCode();
    expect(readJoinCode(code).urls).toEqual([url]);
    expect(await cli(nas, homes.nas, "join", code, "--node-id", "nas", "--no-start")).toMatchObject({ code: 0 });
    running.push((await startDaemon(homes.nas, undefined, { under: nas.inside, env: QUIET })).process);
    const file = path.join(folder, "task.json");
    await writeFile(file, JSON.stringify({ kind: "echo", input: { value: "hello" }, require: { nodes: ["nas"] } }));
    const done = await onLead("submit", "-f", file, "--wait", "--json");
    expect(JSON.parse(done.stdout)).toMatchObject({ tasks: [{ state: "succeeded", node: "nas", result: "hello" }] });
    const token = path.join(folder, "nas.token");
    expect(await onLead("token", "create", "nas", "--scope", "viewer", "--out", token)).toMatchObject({ code: 0 });
    expect(await cli(nas, homes.nas, "nodes", "--token-file", token)).toMatchObject({ code: 0, stderr: "" });
    const authority = path.join(homes.lead, "data", "authority.pem");
    const third = ["status", "--url", url, "--token-file", token];
    expect(await cli(middle, homes.stranger, ...third)).toMatchObject({ code: 1, stderr: expect.stringContaining("--ca") as string });
    expect(await cli(middle, homes.stranger, ...third, "--ca", authority)).toMatchObject({ code: 0, stderr: "" });
  });

  test("doctor finds the certificates good, on both machines", async () => {
    for (const [host, home, names] of [
      [lead, homes.lead, ["authority", "certificate"]],
      [nas, homes.nas, ["authority"]],
    ] as const) {
      const { stdout } = await cli(host, home, "doctor");
      for (const name of names) expect(stdout).toMatch(new RegExp(`^ok +${name} +good until 20\\d\\d-`, "m"));
    }
  });

  test("a node does not follow its coordinator's address to another authority: it says nothing there, and why", async () => {
    await (running.pop() as Running).end("SIGTERM");
    const other = makeAuthority();
    const { chain, key } = other.certify([MIDDLE as string], Date.now());
    const interceptor = await intercept(chain, key);
    expect(await cli(nas, homes.nas, "config", "set", "coordinator.url", interceptor.url)).toMatchObject({ code: 0 });
    // With what its coordinator has told it goes on at the right address; here it is to have no other.
    await rm(path.join(homes.nas, "data", "coordinators.json"));
    const start = startDaemon(homes.nas, undefined, { under: nas.inside, env: QUIET });
    await expect(start).rejects.toThrow(/the authority in .*coordinator\.pem has not certified https:\/\/192\.168\.77\.3/);
    expect((await interceptor.end()).heard).toBe("");
    await cli(nas, homes.nas, "config", "set", "coordinator.url", url);
  });

  test("its coordinator keeps the authority over a restart, and the node comes back by itself", async () => {
    const settings = {
      nodeId: "lead",
      api: { host: "lan", port: Number(new URL(url).port) },
      nats: { port: await natsPortOf(homes.lead) },
    };
    running.push((await startDaemon(homes.nas, undefined, { under: nas.inside, env: QUIET })).process);
    await (running.shift() as Running).end("SIGTERM");
    const before = await readFile(path.join(homes.lead, "data", "authority.pem"), "utf8");
    const { process: again } = await startDaemon(homes.lead, settings, { under: lead.inside, env: QUIET });
    running.unshift(again);
    expect(await readFile(path.join(homes.lead, "data", "authority.pem"), "utf8")).toBe(before);
    const done = await onLead("submit", "-f", path.join(folder, "task.json"), "--wait", "--json");
    expect(JSON.parse(done.stdout)).toMatchObject({ tasks: [{ state: "succeeded", node: "nas" }] });
  });
});
