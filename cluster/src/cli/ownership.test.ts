/** The command line of a user who shares a cluster: what it shows of others' tasks, and how it says that something is not theirs. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { payloadOf, plantTasks } from "../../../tests/support/planted-tasks.ts";
import { runCli } from "../../../tests/support/terminal.ts";

let api: TestApi;
beforeEach(async () => {
  api = await startApi();
  plantTasks(api.coordinator);
});
afterEach(() => api.close());

const as = (user: string, ...argv: string[]): ReturnType<typeof runCli> => {
  const token = api.coordinator.tokenFor("submitter", user);
  return runCli(argv, { env: { OPENCLAW_CLUSTER_HOME: "/nonexistent", OPENCLAW_CLUSTER_URL: api.url, OPENCLAW_CLUSTER_TOKEN: token } });
};

it("ps names owners where there is more than one, and --mine and --owner choose", async () => {
  const all = await as("bob", "ps");
  expect(all.stdout).toMatch(/ID +OWNER +STATE[^]*t2 +bob +failed[^]*t1 +ann +failed/);
  expect((await as("bob", "ps", "--mine")).stdout).toMatch(/^ID +STATE[^]*t2 +failed/);
  expect((await as("bob", "ps", "--mine")).stdout).not.toContain("t1");
  const { tasks } = JSON.parse((await as("bob", "ps", "--owner", "ann", "--json")).stdout) as { tasks: unknown[] };
  expect(tasks).toMatchObject([{ id: "t1", owner: "ann", hidden: true }]);
  expect(await as("bob", "ps", "--owner", "ann", "--mine")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("bob alone") as string,
  });
});

it("whoever cannot answer for a task is not asked to", async () => {
  for (const [id, task] of api.coordinator.tasks) api.coordinator.tasks.set(id, { ...task, state: "waiting", reason: "asked" });
  const asked = async (...argv: string[]): Promise<boolean[]> => {
    const { stdout, stderr } = await as("bob", ...argv);
    return ["answer t1", "answer t2"].map((words) => `${stdout}${stderr}`.includes(words));
  };
  expect(await asked("ps")).toEqual([false, true]);
  expect(await asked("status")).toEqual([false, true]);
  expect([await asked("show", "t1"), await asked("show", "t2")]).toEqual([
    [false, false],
    [false, true],
  ]);
});

it("show tells the outline of another's task, and whose it is", async () => {
  const { code, stdout } = await as("bob", "show", "t1");
  expect([code, stdout.includes(payloadOf("ann"))]).toEqual([0, false]);
  expect(stdout).toMatch(/owner +ann\n[^]*hidden +what it works on[^]*it is not yours\n/);
  const hers = await as("ann", "show", "t1");
  expect(hers.stdout).toContain(payloadOf("ann"));
  expect(hers.stdout).not.toContain("hidden");
});

it.each([["why"], ["logs"], ["cancel"], ["retry"]])("%s of another's task ends with 1 and says what it takes", async (command) => {
  const { code, stdout, stderr } = await as("bob", command, "t1");
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toContain("t1 belongs to ann; for tasks of others a token needs the scope operator");
});

it("many at once: says which are not yours, in a dry run too, and leaves them alone", async () => {
  expect((await as("bob", "retry", "--all", "--dry-run")).stdout).toBe("would be run again: 1 task; not yours: 1 task\n");
  const { code, stdout } = await as("bob", "retry", "--all", "--yes");
  expect([code, stdout]).toEqual([
    1,
    "run again: 1 task\nrefused: 1 task\n  t1 belongs to ann; for tasks of others a token needs the scope operator. (forbidden)\n",
  ]);
  plantTasks(api.coordinator);
  expect(await as("bob", "retry", "--mine", "--yes")).toMatchObject({ code: 0, stdout: "run again: 1 task\n" });
});
