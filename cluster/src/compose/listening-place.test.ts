/** What `api.host` comes to, with a stub of Tailscale on PATH. The real listeners on a tailnet's address: tests/integration/tailnet.test.ts. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NEEDS_LOGIN, RUNNING, SELF, STARTING, tailscaleStub, type TailscaleStub } from "../../../tests/support/tailscale.ts";
import { silentLog } from "../system/log.ts";
import { findListeningPlace, type ListeningPlace, type PlaceParts } from "./listening-place.ts";

let stub: TailscaleStub;
let told: string[];
let giveUp: AbortController;
/** What happens while it waits, one after the other. */
let meanwhile: (() => void)[];
beforeEach(() => {
  stub = tailscaleStub();
  told = [];
  meanwhile = [];
  giveUp = new AbortController();
});
afterEach(() => stub.remove());

function find(host: string, more: Partial<PlaceParts> = {}): Promise<ListeningPlace> {
  return findListeningPlace({
    host,
    env: stub.env,
    log: silentLog,
    signal: giveUp.signal,
    progress: (text) => void told.push(text),
    addresses: () => ["127.0.0.1", SELF.ip4, SELF.ip6],
    pause: async () => meanwhile.shift()?.(),
    ...more,
  });
}

it.each(["127.0.0.1", "127.0.0.2", "::1", "localhost"])(
  "%s: nats-server stays on the loopback, and nobody asks Tailscale",
  async (host) => {
    expect(await find(host)).toEqual({ apiHost: host, busHost: "127.0.0.1", names: [] });
    expect(stub.calls()).toEqual([]);
  },
);

// The stub is a shell script.
describe.skipIf(process.platform === "win32")("in the tailnet", () => {
  it("both listen on its address, and the MagicDNS name leads there (L1)", async () => {
    expect(await find("tailscale")).toEqual({ apiHost: SELF.ip4, busHost: SELF.ip4, names: [SELF.name] });
    expect(told).toEqual([]);
  });

  it.each([SELF.ip4, SELF.ip6])("an address of it that the settings name, %s, has the name too", async (host) => {
    expect(await find(host)).toEqual({ apiHost: host, busHost: host, names: [SELF.name] });
  });

  it("an address that is not this machine's has no name, nor has any where Tailscale is away", async () => {
    expect(await find("100.99.9.9")).toEqual({ apiHost: "100.99.9.9", busHost: "100.99.9.9", names: [] });
    stub.says(STARTING);
    expect((await find(SELF.ip4)).names).toEqual([]);
  });

  it("a Tailscale that comes up is waited for, then its address on an interface (L2)", async () => {
    let own: string[] = [];
    stub.says(STARTING);
    meanwhile = [() => stub.says(NEEDS_LOGIN), () => stub.says(RUNNING), () => (own = [SELF.ip4])];
    expect((await find("tailscale", { addresses: () => own })).apiHost).toBe(SELF.ip4);
    expect(told).toEqual([
      expect.stringMatching(/^waiting for Tailscale, tried once: Tailscale does not run here: it is starting/),
      expect.stringMatching(/^waiting for Tailscale, tried 2 times: .* logged out\. Run `tailscale up` and log in/),
      expect.stringContaining(`no network interface of this machine has its address ${SELF.ip4}`),
      "Tailscale is there",
    ]);
  });

  it("the wait ends when the start is given up", async () => {
    stub.says(STARTING);
    meanwhile = [() => giveUp.abort(new Error("given up"))];
    await expect(find("tailscale")).rejects.toThrow("given up");
  });
});

it("a Tailscale that is not installed ends the start, with the next step", async () => {
  await expect(find("tailscale", { env: { PATH: "/nonexistent" } })).rejects.toMatchObject({
    code: "config_invalid",
    detail: expect.stringContaining("Install Tailscale") as string,
  });
});
