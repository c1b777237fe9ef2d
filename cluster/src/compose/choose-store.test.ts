import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { loadConfig } from "../system/config.ts";
import { foldersOf } from "../system/folders.ts";
import { chooseStore } from "./choose-store.ts";

const ENDPOINTS = "http://127.0.0.1:2379,http://127.0.0.1:22379";
let home: string;
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), "ocx-store-"));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
});

test("it is kept from the first start on, and said again it is the same", async () => {
  await chooseStore({ home, env: {}, kind: "etcd", endpoints: ENDPOINTS });
  expect((await loadConfig({ home, env: {} })).store).toMatchObject({ kind: "etcd", endpoints: ENDPOINTS.split(",") });
  await chooseStore({ home, env: {}, endpoints: ENDPOINTS });
  await expect(chooseStore({ home, env: {}, kind: "sqlite" })).rejects.toMatchObject({ code: "state_conflict" });
});

test("where tasks are kept already, they are moved and not left behind", async () => {
  const { database } = foldersOf(home);
  mkdirSync(path.dirname(database), { recursive: true });
  writeFileSync(database, "");
  await chooseStore({ home, env: {}, kind: "sqlite" });
  await expect(chooseStore({ home, env: {}, endpoints: ENDPOINTS })).rejects.toMatchObject({
    code: "state_conflict",
    detail: expect.stringContaining(`store migrate --to etcd --endpoints ${ENDPOINTS}`),
  });
});

test("what is no store is refused before anything is written", async () => {
  await expect(chooseStore({ home, env: {}, kind: "paper" })).rejects.toMatchObject({ code: "usage" });
  expect((await loadConfig({ home, env: {} })).store.kind).toBe("sqlite");
});
