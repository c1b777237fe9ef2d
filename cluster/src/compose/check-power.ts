/** Doctor's check of what this machine runs on, and what follows from it for the models that it lends. */
import { DEFAULT_POLICY } from "../core/policy.ts";
import type { Folders } from "../system/folders.ts";
import type { PowerReader } from "../system/power-reading.ts";
import { readPolicy } from "../worker/policy-reading.ts";
import { ok, warn, type Check } from "./check.ts";

export async function checkPower({ policy: file }: Pick<Folders, "policy">, read: PowerReader): Promise<Check> {
  const name = "power";
  const reading = readPolicy(file);
  const { battery } = reading.kind === "read" ? reading.policy : DEFAULT_POLICY;
  try {
    if ((await read()) === "mains") return ok(name, "on mains, or a machine without a battery");
    const models = battery.models ? "models are lent all the same" : "no models are lent until it is on mains again";
    return ok(name, `on its battery; ${models} (battery.models in policy.yaml)`);
  } catch (error) {
    const { message } = error as Error;
    return warn(name, `what it runs on cannot be told: ${message}`, "It counts as being on mains: on its battery it lends models, too.");
  }
}
