import fc from "fast-check";
import { expect, it } from "vitest";
import { bracketed, needsTls, reachOf } from "./address.ts";

it.each([
  ["127.0.0.1", "loopback"],
  ["127.255.0.9", "loopback"],
  ["::1", "loopback"],
  ["[::1]", "loopback"],
  ["0:0:0:0:0:0:0:1", "loopback"],
  ["::ffff:127.0.0.1", "loopback"],
  ["localhost", "loopback"],
  ["100.64.0.0", "tailnet"],
  ["100.127.255.255", "tailnet"],
  ["fd7a:115c:a1e0::53", "tailnet"],
  ["[FD7A:115C:A1E0:ab12::1]", "tailnet"],
  ["100.63.255.255", "elsewhere"],
  ["100.128.0.0", "elsewhere"],
  ["fd7a:115c:a1e1::1", "private"],
  ["fd12:3456:789a::1", "private"],
  ["10.0.0.1", "private"],
  ["172.31.255.255", "private"],
  ["172.32.0.1", "elsewhere"],
  ["192.168.1.5", "private"],
  ["::ffff:192.168.1.5", "private"],
  ["169.254.7.7", "private"],
  ["203.0.113.7", "elsewhere"],
  ["2001:db8::1", "elsewhere"],
  ["0.0.0.0", "elsewhere"],
  ["::", "elsewhere"],
  ["", "elsewhere"],
  // What a comparison of texts would let pass.
  ["127.0.0.1.example.org", "elsewhere"],
  ["100.64.0.1.example.org", "elsewhere"],
  ["fd7a:115c:a1e0::1%eth0", "elsewhere"],
  ["0100.64.0.1", "elsewhere"],
  ["localhost.example.org", "elsewhere"],
])("%s is %s", (host, reach) => expect(reachOf(host)).toBe(reach));

it("agrees with the arithmetic of the ranges, for every IPv4 address", () => {
  fc.assert(
    fc.property(fc.nat(0xffff_ffff), (address) => {
      const text = [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
      const range = address >>> 24 === 127 ? "loopback" : address >>> 22 === (100 << 2) + 1 ? "tailnet" : "elsewhere";
      const isPrivate = address >>> 24 === 10 || address >>> 20 === 0xac1 || [0xc0a8, 0xa9fe].includes(address >>> 16);
      expect(reachOf(text)).toBe(isPrivate ? "private" : range);
      expect(needsTls(text)).toBe(range === "elsewhere");
    }),
    { examples: [[0x64_40_00_00], [0x64_7f_ff_ff], [0x64_80_00_00], [0x7f_00_00_01], [0xac_1f_ff_ff], [0xac_20_00_00]] },
  );
});

it("puts IPv6 into brackets before a port", () => {
  expect(["127.0.0.1", "::1", "studio"].map(bracketed)).toEqual(["127.0.0.1", "[::1]", "studio"]);
});
