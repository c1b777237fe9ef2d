/** Who is asked, and whose answer counts. Real machines of a tailnet: tests/hosts/. */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RUNNING, SELF, STOPPED, tailscaleStub, type TailscaleStub } from "../../../tests/support/tailscale.ts";
import { runCli } from "../../../tests/support/terminal.ts";
import { findCoordinators, isCoordinator } from "./discovery.ts";

// The stub is a shell script.
describe.skipIf(process.platform === "win32")("in a tailnet", () => {
  let stub: TailscaleStub;
  beforeEach(() => {
    stub = tailscaleStub();
  });
  afterEach(() => stub.remove());

  test("this machine and those that are online are asked, by their address; those that answer are told", async () => {
    const asked: string[] = [];
    const knock = async (host: string, port: number): Promise<boolean> => {
      asked.push(`${host}:${port}`);
      return host !== "100.70.0.4";
    };
    expect(await findCoordinators({ env: stub.env, port: 8888, knock })).toMatchObject({
      asked: 3,
      coordinators: [
        { name: SELF.name, url: `http://${SELF.ip4}:8888` },
        { name: "nas2.tail1a2b3.ts.net", url: "http://100.70.0.2:8888" },
      ],
    });
    expect(asked).toEqual([`${SELF.ip4}:8888`, "100.70.0.2:8888", "100.70.0.4:8888"]);
  });

  test("no more than some at once (D2)", async () => {
    const peers = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`nodekey:${n}`, RUNNING.Peer["nodekey:02"]]));
    stub.says({ ...RUNNING, Peer: peers });
    let [open, most] = [0, 0];
    const knock = async (): Promise<boolean> => {
      most = Math.max(most, (open += 1));
      await new Promise(setImmediate);
      open -= 1;
      return false;
    };
    expect(await findCoordinators({ env: stub.env, port: 8888, knock })).toMatchObject({ asked: 301, coordinators: [] });
    expect(most).toBe(32);
  });

  test("where Tailscale is off, the command says what to do", async () => {
    stub.says(STOPPED);
    const { code, stderr } = await runCli(["discover"], { env: stub.env });
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("tailscale up") as string });
  });
});

describe("an answer", () => {
  let server: Server | undefined;
  afterEach(async () => {
    server?.closeAllConnections();
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
    server = undefined;
  });
  const answers = async (listener: RequestListener): Promise<boolean> => {
    server = createServer(listener);
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    return isCoordinator("127.0.0.1", (server.address() as AddressInfo).port);
  };

  test.each<[what: string, counts: boolean, listener: RequestListener]>([
    ["as a coordinator's", true, (_, answer) => void answer.end('{"status":"ok"}')],
    ["of another program", false, (_, answer) => void answer.end('{"status":"ok","more":1}')],
    ["with another status", false, (_, answer) => void answer.writeHead(401).end('{"status":"ok"}')],
    ["that leads elsewhere", false, (_, answer) => void answer.writeHead(302, { location: "/other" }).end()],
    ["longer than any", false, (_, answer) => void answer.end("x".repeat(1_000_000))],
    ["without an end", false, (_, answer) => void answer.write('{"status":"ok"}')],
    ["that breaks off", false, (_, answer) => void answer.destroy()],
  ])("%s: %s", async (_what, counts, listener) => {
    expect(await answers(listener)).toBe(counts);
  });

  test("nobody's: false", async () => {
    expect(await isCoordinator("127.0.0.1", 1)).toBe(false);
  });
});
