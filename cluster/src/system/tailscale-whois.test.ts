/** Who is at the other end, from recorded answers of the program and of tailscaled's socket. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { tailscaleStub, whoisAnswer, type TailscaleStub } from "../../../tests/support/tailscale.ts";
import { askWhois, isNamed, type Whois, type WhoisQuestion } from "./tailscale-whois.ts";

const NAS = "100.70.0.2";
const ANN = whoisAnswer({ ip: NAS, login: "ann@example.com", name: "nas2" });
const KNOWN = { kind: "known", who: { login: "ann@example.com", machine: "nas2.tail1a2b3.ts.net", tags: [] } };

let stub: TailscaleStub;
beforeEach(() => {
  stub = tailscaleStub();
});
afterEach(() => stub.remove());
const ask = (more: Partial<WhoisQuestion> = {}): Promise<Whois> =>
  askWhois({ env: stub.env, address: NAS, port: 40_000, sockets: [], ...more });

// The stub is a shell script.
describe.skipIf(process.platform === "win32")("by the program", () => {
  test("login, machine and tags; asked by address and port of the connection", async () => {
    stub.knows(NAS, ANN);
    expect(await ask()).toEqual(KNOWN);
    expect(await ask({ address: `::ffff:${NAS}` })).toEqual(KNOWN);
    expect(stub.calls()).toEqual([`whois --json ${NAS}:40000`, `whois --json ${NAS}:40000`]);
  });

  test("a tagged machine is nobody's", async () => {
    stub.knows(NAS, whoisAnswer({ ip: NAS, name: "ci", tags: ["tag:ci"] }));
    expect(await ask()).toEqual({ kind: "known", who: { machine: "ci.tail1a2b3.ts.net", tags: ["tag:ci"] } });
    stub.knows(NAS, whoisAnswer({ ip: NAS, login: "ann@example.com", name: "ci", tags: ["tag:ci"] }));
    expect(await ask()).not.toHaveProperty("who.login");
  });

  test.each([
    ["about another address (W2)", whoisAnswer({ ip: "100.70.0.3", login: "ann@example.com", name: "nas2" })],
    ["that is empty", ""],
    ["that is no JSON", "{"],
    ["without a user", { Node: { Name: "x", Addresses: [`${NAS}/32`] } }],
    ["with tags that are none", { ...ANN, Node: { Name: "x", Addresses: [`${NAS}/32`], Tags: ["tag:a b"] } }],
    ["larger than any", `{"x":"${"x".repeat(2 * 1024 * 1024)}"}`],
  ])("an answer %s is none", async (_what, answer) => {
    stub.knows(NAS, answer);
    expect(await ask()).toMatchObject({ kind: "unknown" });
  });

  test("control characters go no further", async () => {
    stub.knows(NAS, whoisAnswer({ ip: NAS, login: "ann\u001b[2J@example.com", name: "nas2" }));
    expect(await ask()).toMatchObject({ who: { login: "ann[2J@example.com" } });
  });

  test("a stranger to the tailnet, and a program that does not answer in time", async () => {
    expect(await ask()).toEqual({ kind: "unknown", reason: `tailscale knows nobody at ${NAS}:40000` });
    expect(await ask({ programs: ["sleep"], timeoutMs: 100 })).toMatchObject({ kind: "unknown" });
  });
});

test("an address outside of tailnets is nobody's, and nobody is asked", async () => {
  for (const address of ["127.0.0.1", "192.168.1.5", "::1", ""]) expect(await ask({ address })).toMatchObject({ kind: "unknown" });
  expect(stub.calls()).toEqual([]);
});

// Windows has pipes of another kind.
describe.skipIf(process.platform === "win32")("by tailscaled's socket, where there is no program", () => {
  let folder: string;
  let server: Server | undefined;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), "ocx-localapi-"));
  });
  afterEach(async () => {
    server?.closeAllConnections();
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
    server = undefined;
    rmSync(folder, { recursive: true, force: true });
  });
  const serve = async (listener: RequestListener): Promise<Partial<WhoisQuestion>> => {
    const socket = path.join(folder, "tailscaled.sock");
    server = createServer(listener);
    await new Promise<void>((resolve) => server?.listen(socket, resolve));
    return { programs: ["no-such-program"], sockets: [path.join(folder, "not-here.sock"), socket] };
  };

  test("it is asked under its own name", async () => {
    const asked: unknown[] = [];
    const where = await serve(({ url, headers }, answer) => {
      asked.push([url, headers.host]);
      answer.end(JSON.stringify(ANN));
    });
    expect(await ask(where)).toEqual(KNOWN);
    expect(asked).toEqual([[`/localapi/v0/whois?addr=${encodeURIComponent(`${NAS}:40000`)}`, "local-tailscaled.sock"]]);
  });

  test.each<[string, RequestListener]>([
    ["knows nobody there", (_, answer) => void answer.writeHead(404).end("no match for IP:port\n")],
    ["says more than anybody can have to say", (_, answer) => void answer.end("x".repeat(2 * 1024 * 1024))],
    ["breaks off", (_, answer) => void answer.destroy()],
    ["never answers", () => undefined],
  ])("one that %s", async (_what, listener) => {
    expect(await ask({ ...(await serve(listener)), timeoutMs: 200 })).toMatchObject({ kind: "unknown" });
  });
});

test("a login or a tag that is named, in any case", () => {
  const ann = { login: "Ann@example.com", tags: [] };
  expect(isNamed(ann, ["ann@EXAMPLE.com"])).toBe(true);
  expect(isNamed(ann, ["bob@example.com", "tag:ci"])).toBe(false);
  expect(isNamed({ tags: ["tag:ci"] }, ["tag:ci"])).toBe(true);
  // A person could be called like a tag; what is a tag is for Tailscale to say.
  expect(isNamed({ login: "tag:ci", tags: [] }, ["tag:ci"])).toBe(false);
  expect(isNamed({ tags: [] }, [])).toBe(false);
});
