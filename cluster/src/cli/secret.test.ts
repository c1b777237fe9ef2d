import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { runCli, type CliRun } from "../../../tests/support/terminal.ts";
import { readSecrets } from "../system/secret-file.ts";

const VALUE = "a-long-secret value";

let home: string;
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), "ocx-secret-"));
});
afterEach(() => rmSync(home, { recursive: true }));

const secret = (line: string, input = ""): Promise<CliRun> => runCli(["secret", ...line.split(" "), "--home", home], { input });
const file = (): string => path.join(home, "secrets.yaml");

it("keeps what stdin says, shows names and never values, and forgets", async () => {
  const said = [await secret("set KEY --json", `${VALUE}\r\n`), await secret("set OTHER", `${VALUE} 2`)];
  expect(readSecrets(file())).toEqual(
    new Map([
      ["KEY", VALUE],
      ["OTHER", `${VALUE} 2`],
    ]),
  );
  if (process.platform !== "win32") expect(statSync(file()).mode & 0o777).toBe(0o600);
  said.push(await secret("list --json"), await secret("remove KEY"), await secret("list"));
  expect(said.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0]);
  expect(JSON.parse(said[2]?.stdout ?? "")).toEqual({ secrets: ["KEY", "OTHER"] });
  expect(said[4]?.stdout).toBe("OTHER\n");
  for (const { stdout, stderr } of said) expect(stdout + stderr).not.toContain(VALUE);
});

it("refuses what cannot be kept out of an output, and what is not there", async () => {
  const short = await secret("set KEY", "short\n");
  expect([short.code, short.stderr]).toEqual([2, expect.stringContaining("8 to 32768 characters, this one 5")]);
  expect((await secret("remove KEY")).code).toBe(1);
  expect((await secret("set 1KEY", VALUE)).code).toBe(2);
});

it("takes no value where ps would show it", async () => {
  const { code, stdout, stderr } = await secret(`set KEY ${VALUE.split(" ")[0]}`, VALUE);
  expect(code).toBe(2);
  expect(stdout + stderr).not.toContain("is kept");
  expect([...readSecrets(file())]).toEqual([]);
});
