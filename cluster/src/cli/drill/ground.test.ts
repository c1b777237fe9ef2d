import { mkdir, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { forsakenGrounds, openGround } from "./ground.ts";

const made: string[] = [];
afterEach(async () => {
  for (const one of made.splice(0)) await rm(one, { recursive: true, force: true });
});

async function forsakenIds(): Promise<string[]> {
  return (await forsakenGrounds()).map(({ id }) => id);
}

test("a drill's folder is its own while it runs, and gone afterwards", async () => {
  const ground = await openGround();
  made.push(ground.folder);
  expect(ground.id).toMatch(/^[a-z2-7]{6}$/);
  expect(await forsakenIds()).not.toContain(ground.id);
  await ground.remove();
  expect(await readdir(tmpdir())).not.toContain(path.basename(ground.folder));
});

test("the folder of a drill that is gone is found, and only that", async () => {
  const at = (name: string): string => path.join(tmpdir(), name);
  const [forsaken, elsewhere] = [at("openclaw-cluster-drill-zzzza2"), at("openclaw-cluster-drill-elsewhere")];
  const [file, link] = [at("openclaw-cluster-drill-zzzzb2"), at("openclaw-cluster-drill-zzzzc2")];
  made.push(forsaken, elsewhere, file, link);
  await mkdir(path.join(forsaken, "drill1zzzza2"), { recursive: true });
  await mkdir(elsewhere);
  await writeFile(file, "");
  // Windows lets only administrators make one.
  if (process.platform !== "win32") await symlink(elsewhere, link);
  const found = await forsakenGrounds();
  expect(found.map(({ id }) => id).filter((id) => id.startsWith("zzzz"))).toEqual(["zzzza2"]);
  await found.find(({ id }) => id === "zzzza2")?.remove();
  expect(await forsakenIds()).not.toContain("zzzza2");
  expect(await readdir(elsewhere)).toEqual([]);
});
