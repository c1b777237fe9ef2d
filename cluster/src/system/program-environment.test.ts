import { expect, test } from "vitest";
import { programEnvironment } from "./program-environment.ts";

test("what a program needs goes with it, on each system; whatever else there is stays", () => {
  const needed = {
    PATH: "/bin",
    Path: "C:\\Windows",
    SystemRoot: "C:\\Windows",
    LC_ALL: "C",
    DBUS_SYSTEM_BUS_ADDRESS: "unix:path=/x",
    GOMEMLIMIT: "1GiB",
  };
  const secret = { OPENCLAW_GATEWAY_TOKEN: "a", OPENCLAW_CLUSTER_TOKEN: "b", A_MODELS_API_KEY: "c", NODE_OPTIONS: "d" };
  expect(programEnvironment({ ...needed, ...secret, HOME: undefined })).toEqual(needed);
});
