/**
 * Two machines of a tailnet, as network namespaces with addresses of its range and no shared loopback; Tailscale itself is a
 * stub that says so. The coordinator listens on its tailnet's address and nowhere else, and a code from it is enough.
 */
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readJoinCode } from "../../cluster/src/trust/join-code.ts";
import { run, type ProcessEnd, type Running } from "../../scripts/child.ts";
import { runCommand } from "../../scripts/daemon.ts";
import { startCluster, until, type TestCluster } from "../support/daemon.ts";
import { openHosts, whyNoHosts, type Host, type Hosts } from "../support/hosts.ts";
import { RUNNING, SELF, STARTING, tailscaleStub, type TailscaleStub } from "../support/tailscale.ts";

/** Of the first host that is opened. */
const LEAD = "100.64.0.11";
const onLead = { ...RUNNING, TailscaleIPs: [LEAD], Self: { ...RUNNING.Self, TailscaleIPs: [LEAD] } };

function inside(host: Host, ...argv: string[]): Running {
  const [program = "", ...all] = [...host.inside, ...argv];
  return run(program, all);
}

describe.skipIf(whyNoHosts() !== undefined)("in a tailnet", () => {
  let hosts: Hosts;
  let lead: Host;
  let nas: Host;
  let stub: TailscaleStub;
  let cluster: TestCluster;
  beforeAll(async () => {
    stub = tailscaleStub();
    stub.says(STARTING);
    hosts = await openHosts();
    [lead, nas] = [await hosts.add("lead", []), await hosts.add("nas", [])];
    const starting = startCluster({ api: { host: "tailscale", port: 0 } }, { manner: { under: lead.inside, env: stub.env } });
    // As at the machine's start: Tailscale comes later than the daemon.
    await until("it has asked twice", () => (stub.calls().length >= 2 ? true : undefined));
    stub.says(onLead);
    cluster = await starting;
  });
  afterAll(async () => {
    await cluster?.end();
    await hosts?.end();
    stub?.remove();
  });

  const onLeadRun = (...argv: string[]): Promise<ProcessEnd> =>
    runCommand([...argv, "--home", cluster.lead.home], { under: lead.inside, env: stub.env }).ended();

  test("API and nats-server listen on its address, and nowhere else", async () => {
    expect(new URL(cluster.url).hostname).toBe(LEAD);
    const conf = await readFile(path.join(cluster.lead.home, "data", "nats", "nats.conf"), "utf8");
    expect(conf).toMatch(new RegExp(`^listen: "${LEAD}:\\d+"$`, "m"));
    const listening = await inside(lead, "ss", "-Hltn").output();
    const addresses = listening
      .split("\n")
      .filter(Boolean)
      .map((line) => (line.trim().split(/\s+/)[3] ?? "").replace(/:\d+$/, ""))
      // There a worker has its endpoint for models.
      .filter((address) => address !== "127.0.0.1");
    expect(addresses).toHaveLength(2);
    expect(new Set(addresses)).toEqual(new Set([LEAD]));
  });

  test("it answers to the MagicDNS name, and to no other", async () => {
    const script = `const [host, port, name] = process.argv.slice(1);
      require("node:http").get({ host, port, path: "/healthz", headers: { host: name } }, (answer) => console.log(answer.statusCode));`;
    const { port } = new URL(cluster.url);
    const statusFor = async (name: string): Promise<string> => {
      return (await inside(nas, process.execPath, "-e", script, LEAD, port, name).output()).trim();
    };
    expect(await statusFor(`${SELF.name}:${port}`)).toBe("200");
    expect(await statusFor(`nas2.tail1a2b3.ts.net:${port}`)).toBe("421");
  });

  test("a machine joins over it with a code alone, and works", async () => {
    const invited = await onLeadRun("invite", "--approve", "--json");
    expect(invited).toMatchObject({ code: 0, stderr: "" });
    const { code } = JSON.parse(invited.stdout) as { code: string };
    const { port } = new URL(cluster.url);
    expect(readJoinCode(code).urls).toEqual([`http://${LEAD}:${port}`, `http://${SELF.name}:${port}`]);
    const home = path.join(cluster.folder, "nas");
    const env = { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_OPENCLAW: "off" };
    expect(await runCommand(["join", "--no-start", code, "--node-id", "nas"], { under: nas.inside, env }).ended()).toMatchObject({
      code: 0,
    });
    await cluster.startHome(home, { under: nas.inside, env });
    const file = path.join(cluster.folder, "task.json");
    await writeFile(file, JSON.stringify({ kind: "echo", input: { value: "hello" }, require: { nodes: ["nas"] } }));
    const done = await onLeadRun("submit", "-f", file, "--wait", "--json");
    expect(JSON.parse(done.stdout)).toMatchObject({ tasks: [{ state: "succeeded", node: "nas", result: "hello" }] });
  });

  test("doctor names the address", async () => {
    const { stdout } = await onLeadRun("doctor");
    expect(stdout).toMatch(new RegExp(`^ok +Tailscale +${LEAD} \\(${SELF.name.replaceAll(".", "\\.")}\\)`, "m"));
  });

  test("an address of the range that Tailscale does not call this machine's own speaks TLS: it may be a provider's", async () => {
    const other = await hosts.add("other", []);
    const started = await startCluster({ api: { host: other.address, port: 0 } }, { manner: { under: other.inside, env: stub.env } });
    try {
      expect(new URL(started.url)).toMatchObject({ protocol: "https:", hostname: other.address });
      const conf = await readFile(path.join(started.lead.home, "data", "nats", "nats.conf"), "utf8");
      expect(conf).toMatch(/^tls \{$/m);
      const told = await runCommand(["nodes", "--home", started.lead.home], { under: other.inside, env: stub.env }).ended();
      expect(told).toMatchObject({ code: 0, stderr: "" });
    } finally {
      await started.end();
    }
  });
});

test("where the coordinator is on the loopback, invite says which setting lets the tailnet in", async () => {
  const stub = tailscaleStub();
  const cluster = await startCluster({}, { manner: { env: stub.env } });
  try {
    const env = { ...stub.env, OPENCLAW_CLUSTER_HOME: cluster.lead.home };
    const { code, stderr } = await runCommand(["invite"], { env }).ended();
    expect(code).toBe(0);
    expect(stderr).toContain("config set api.host tailscale");
    expect(stderr).toContain(SELF.ip4);
  } finally {
    await cluster.end();
    stub.remove();
  }
});
