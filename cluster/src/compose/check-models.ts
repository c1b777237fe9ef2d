/** Doctor's checks of the endpoint for the models of all nodes, and of OpenClaw's settings that lead to it. */
import { presentProvider } from "./model-connection.ts";
import { askEndpoint, ownEndpoint } from "./own-models.ts";
import type { Environment, Folders } from "../system/folders.ts";
import { fail, ok, warn, type Check } from "./check.ts";

const START = "Start this machine's daemon: openclaw-cluster start";
const CONNECT = "Run again: openclaw-cluster models connect";

export async function checkModels({ home }: Folders): Promise<Check> {
  const name = "models";
  const endpoint = await ownEndpoint(home);
  if (endpoint === undefined) return warn(name, "this machine has no endpoint for the models of all nodes yet", START);
  const answer = await askEndpoint(endpoint);
  switch (answer.kind) {
    case "answers": {
      const count = answer.models.filter(({ id }) => id !== "auto").length;
      return ok(name, `${endpoint.url} has ${count === 1 ? "1 model" : `${count} models`}`);
    }
    case "refuses":
      return fail(name, `what listens at ${endpoint.url} ${answer.reason}`, "Stop this machine's daemon and start it again.");
    case "silent":
      return warn(name, `nothing answers at ${endpoint.url} (${answer.reason})`, START);
  }
}

/** undefined: OpenClaw was never connected. */
export async function checkConnection({ home }: Folders, env: Environment): Promise<Check | undefined> {
  const name = "OpenClaw's models";
  const present = await presentProvider({ env }).catch(() => undefined);
  if (present === undefined) return undefined;
  const { file, provider } = present;
  const endpoint = await ownEndpoint(home);
  if (endpoint === undefined) return warn(name, `${file} names an endpoint that this machine does not have`, START);
  if (provider.baseUrl !== endpoint.url)
    return warn(name, `${file} leads to ${String(provider.baseUrl)}, and the endpoint is ${endpoint.url}`, CONNECT);
  if (provider.apiKey !== endpoint.key) return warn(name, `${file} has another key than the endpoint`, CONNECT);
  return ok(name, `cluster/auto leads to ${endpoint.url}`);
}
