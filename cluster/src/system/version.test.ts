import { expect, test } from "vitest";
import { compareVersions, findVersion, isAtLeast } from "./version.ts";

test.each([
  ["nats-server: v2.15.1", "2.15.1"],
  ["etcd Version: 3.5.30\nGit SHA: Not provided\nGo Version: go1.26.4", "3.5.30"],
  ["v2.15.0-RC.2", "2.15.0"],
  ["usage: something", undefined],
])("finds the version in %j", (text, version) => {
  expect(findVersion(text)).toBe(version);
});

test("numbers are compared as numbers", () => {
  expect(["2.9.10", "2.10.0", "2.10.27", "2.9.9", "3.0.0"].toSorted(compareVersions)).toEqual([
    "2.9.9",
    "2.9.10",
    "2.10.0",
    "2.10.27",
    "3.0.0",
  ]);
  expect(isAtLeast("2.10.0", "2.10.0")).toBe(true);
  expect(isAtLeast("2.9.10", "2.10.0")).toBe(false);
});
