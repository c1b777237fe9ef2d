import { describe, expect, it } from "vitest";
import { loadConfig, type ClusterConfig } from "../system/config.ts";
import type { ConfigPatch } from "../system/config-schema.ts";
import type { Tailscale } from "../system/tailscale.ts";
import { checkTailscale } from "./check-tailscale.ts";

const up: Tailscale = {
  kind: "running",
  ip4: "100.101.102.103",
  magicDnsName: "studio.tail1a2b3.ts.net",
  peers: [
    { name: "nas2", ips: [], os: "linux", online: true },
    { name: "air", ips: [], os: "macOS", online: false },
  ],
};
const off: Tailscale = { kind: "stopped", reason: "it is stopped" };
const none: Tailscale = { kind: "absent" };

const settings = (flags: ConfigPatch): Promise<ClusterConfig> => loadConfig({ home: "/nonexistent", env: {}, flags });
const worksFor = (url: string): ConfigPatch => ({ roles: ["worker"], coordinator: { url } });

describe("the check of Tailscale", () => {
  it.each<[what: string, flags: ConfigPatch, found: Tailscale, level: string, told: string]>([
    [
      "runs, and is not used",
      {},
      up,
      "ok",
      "100.101.102.103 (studio.tail1a2b3.ts.net), 1 of 2 other machines online; api.host tailscale lets",
    ],
    ["runs, and is used", { api: { host: "tailscale" } }, up, "ok", "listen there"],
    ["runs, and is used by its address", { api: { host: "100.101.102.103" } }, up, "ok", "listen there"],
    [
      "runs with another address",
      { api: { host: "100.99.9.9" } },
      up,
      "warn",
      "not this machine's address in the tailnet (100.101.102.103): TLS is spoken there",
    ],
    ["is off, and needed", { api: { host: "tailscale" } }, off, "fail", "it does not run here: it is stopped, and api.host is tailscale"],
    ["is absent, and needed", { api: { host: "tailscale" } }, none, "fail", "not installed, and api.host is tailscale"],
    [
      "is off, and an address of the range is used",
      { api: { host: "100.99.9.9" } },
      off,
      "fail",
      "it is stopped, and api.host is 100.99.9.9",
    ],
    ["is absent, and an address of the range is used", { api: { host: "100.99.9.9" } }, none, "warn", "TLS is spoken there"],
    ["is off, and not needed", {}, off, "ok", "it is stopped"],
    ["is absent, and not needed", {}, none, "ok", "not installed"],
    ["is absent, and the local network is used", { api: { host: "lan" } }, none, "ok", "not installed"],
    ["runs, and the local network is used", { api: { host: "192.168.1.5" } }, up, "ok", "1 of 2 other machines online"],
    ["is off where the coordinator's address needs it", worksFor("http://100.70.0.2:8888"), off, "warn", "is in a tailnet"],
    ["is off where the coordinator's name needs it", worksFor("http://nas2.tail1a2b3.ts.net:8888"), none, "warn", "is in a tailnet"],
    ["is off where the worker has a tunnel", worksFor("http://127.0.0.1:8888"), off, "ok", "it is stopped"],
    ["runs on a worker", worksFor("http://100.70.0.2:8888"), up, "ok", "1 of 2 other machines online"],
  ])("%s", async (_what, flags, found, level, told) => {
    const check = checkTailscale(await settings(flags), found);
    expect(check).toMatchObject({ name: "Tailscale", level, found: expect.stringContaining(told) as string });
    expect("advice" in check).toBe(level !== "ok");
  });
});
