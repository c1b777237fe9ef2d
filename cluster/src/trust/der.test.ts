/** DER against the examples of X.690 and RFC 5280, and against OpenSSL's reading of it (node:crypto). */
import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createKey } from "./authority.ts";
import { makeAuthorityCertificate, makeCertificate } from "./certificate.ts";
import { bits, explicit, implicit, integer, octets, oid, sequence, text, time, type Der } from "./der.ts";
import { createNodeKeys } from "./keys.ts";

const hex = (der: Der): string => Buffer.from(der).toString("hex");

describe("values", () => {
  it.each<[what: string, der: Der, written: string]>([
    ["zero", integer(Uint8Array.of(0, 0)), "020100"],
    ["no bytes", integer(new Uint8Array()), "020100"],
    ["127", integer(Uint8Array.of(0, 127)), "02017f"],
    ["128, which must not look negative", integer(Uint8Array.of(128)), "02020080"],
    ["256", integer(Uint8Array.of(1, 0)), "02020100"],
    ["an object", oid("1.2.840.113549"), "06062a864886f70d"],
    ["an object with a large second part", oid("2.5.29.15"), "0603551d0f"],
    ["bits", bits(Uint8Array.of(0x06), 1), "03020106"],
    ["nothing in a row", sequence(), "3000"],
    ["context", explicit(3, implicit(2, Uint8Array.of(1))), "a303820101"],
    ["words", text("é"), "0c02c3a9"],
    ["a time", time(Date.UTC(2026, 10, 29, 7, 8, 9, 999)), "170d3236313132393037303830395a"],
    ["the last second of short years", time(Date.UTC(2049, 11, 31, 23, 59, 59)), "170d3439313233313233353935395a"],
    ["the first of long ones", time(Date.UTC(2050, 0, 1)), "180f32303530303130313030303030305a"],
  ])("%s", (_what, der, written) => expect(hex(der)).toBe(written));

  it.each([
    [127, "047f"],
    [128, "048180"],
    [255, "0481ff"],
    [256, "04820100"],
    [65_536, "0483010000"],
  ])("%i bytes have their length before them", (length, begin) => {
    const der = octets(new Uint8Array(length));
    expect(hex(der).slice(0, begin.length)).toBe(begin);
    expect(der.length).toBe(begin.length / 2 + length);
  });
});

describe("certificates", () => {
  const [key, serverKey] = [createKey(), createKey()];
  const coordinatorKey = createNodeKeys().publicKey;
  const year = (n: number): number => Date.UTC(n, 0, 1);

  it("are read by OpenSSL with the times that were meant, of this century and the next", () => {
    fc.assert(
      fc.property(fc.integer({ min: year(1951), max: year(2150) }), fc.integer({ min: 1, max: 10 * 365 * 86_400 }), (from, seconds) => {
        const to = from + seconds * 1_000;
        const read = new X509Certificate(makeAuthorityCertificate({ coordinatorKey, key, from, to }));
        const whole = (at: number): number => Math.floor(at / 1_000) * 1_000;
        expect([read.validFromDate.getTime(), read.validToDate.getTime()]).toEqual([whole(from), whole(to)]);
      }),
      { numRuns: 50 },
    );
  });

  it("name every address as it was meant", () => {
    const authority = { key, coordinatorKey };
    fc.assert(
      fc.property(fc.uniqueArray(fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()), { minLength: 1, maxLength: 12 }), (hosts) => {
        const wish = { commonName: "coordinator", purposes: ["server"], key: serverKey, hosts, authority } as const;
        const read = new X509Certificate(makeCertificate({ ...wish, from: year(2026), to: year(2027) }));
        for (const host of hosts) expect([host, isIP(host) === 0 ? read.checkHost(host) : read.checkIP(host)]).toEqual([host, host]);
      }),
      { numRuns: 50 },
    );
  });

  it("have a number of their own", () => {
    const made = Array.from(
      { length: 20 },
      () => new X509Certificate(makeAuthorityCertificate({ coordinatorKey, key, from: year(2026), to: year(2027) })),
    );
    expect(new Set(made.map(({ serialNumber }) => serialNumber)).size).toBe(20);
    for (const { serialNumber } of made) expect(serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
  });
});
