import { createPublicKey, verify } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildDeviceAuthPayloadV3 } from "@openclaw/gateway-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadDeviceIdentity, rawPublicKey, signDevicePayload } from "./device-identity.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ocx-identity-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the same file is the same device; another file is another", () => {
  const file = join(folder, "deep", "device.json");
  const made = loadDeviceIdentity(file);
  expect(loadDeviceIdentity(file)).toEqual(made);
  expect(loadDeviceIdentity(join(folder, "other.json")).deviceId).not.toBe(made.deviceId);
  expect(made.deviceId).toMatch(/^[0-9a-f]{64}$/);
  if (process.platform !== "win32") expect(statSync(file).mode & 0o777).toBe(0o600);
});

test("the proof is an Ed25519 signature over the challenge, good for the raw public key that goes with it", () => {
  const { deviceId, privateKeyPem, publicKeyPem } = loadDeviceIdentity(join(folder, "proof.json"));
  const payload = buildDeviceAuthPayloadV3({
    deviceId,
    clientId: "gateway-client",
    clientMode: "backend",
    role: "operator",
    scopes: ["operator.read", "operator.write"],
    signedAtMs: 1_795_335_850_000,
    token: "secret",
    nonce: "n1",
    platform: "Linux",
    deviceFamily: "",
  });
  expect(payload).toBe(`v3|${deviceId}|gateway-client|backend|operator|operator.read,operator.write|1795335850000|secret|n1|linux|`);
  const x = rawPublicKey(publicKeyPem);
  expect(Buffer.from(x, "base64url")).toHaveLength(32);
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const signature = Buffer.from(signDevicePayload(privateKeyPem, payload), "base64url");
  expect(verify(null, Buffer.from(payload), key, signature)).toBe(true);
  expect(verify(null, Buffer.from(`${payload}x`), key, signature)).toBe(false);
});

test("a broken file and an open one are refused, and nothing of them is told", () => {
  const broken = join(folder, "broken.json");
  writeFileSync(broken, '{"privateKey":"canary"}', { mode: 0o600 });
  expect(() => loadDeviceIdentity(broken)).toThrow(
    expect.objectContaining({ code: "config_invalid", message: expect.not.stringContaining("canary") }),
  );
  expect(readFileSync(broken, "utf8")).toContain("canary");
  if (process.platform === "win32") return;
  const open = join(folder, "open.json");
  loadDeviceIdentity(open);
  chmodSync(open, 0o644);
  expect(() => loadDeviceIdentity(open)).toThrow(
    expect.objectContaining({ code: "config_invalid", message: expect.stringContaining("chmod 600") }),
  );
});
