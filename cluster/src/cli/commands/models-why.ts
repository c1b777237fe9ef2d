/** `models why`: where a request for a model went and why, where one would go now, and the last of them. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { ModelRequestId } from "@openclaw-cluster/contract/model-requests";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { planText, requestText } from "../model-why-view.ts";
import { requestTable } from "../model-requests-view.ts";
import type { Session } from "../session.ts";

/** What is asked in a plan, unless said: the place of a short question depends on the models alone. */
const MESSAGE = "hello";
/** As many as a screen shows. */
const LISTED = 20;
const NOTHING =
  "No request for a model yet, since whoever leads has begun to lead. `openclaw-cluster models` lists what can be asked (docs/models.md).";

interface WhyOptions {
  readonly message?: string;
}

export function configureWhy(command: Command, act: Act): void {
  examples(
    command
      .command("why")
      .summary("say which node answered a request, or would answer one now, and why")
      .argument("[request-or-model]", "a request's id, which its answer had in x-cluster-request; or a model's name, auto too, for a plan")
      .option("--message <text>", "what would be asked, in a plan; the longer it is, the more reading counts"),
    "models why",
    "models why k3pz7mqa",
    "models why auto",
    'models why qwen3:8b --message "$(cat prompt.txt)" --json',
  )
    .addHelpText("after", "\nExit code 1 when nobody would answer now.")
    .action(act(why));
}

async function why(session: Session, { message }: WhyOptions, asked?: string): Promise<number> {
  if (asked === undefined) return message === undefined ? list(session) : plan(session, "auto", message);
  const id = ModelRequestId.safeParse(asked);
  if (message !== undefined || !id.success) return plan(session, asked, message);
  // A model may be called as requests are: deepseek is such a name.
  const unknown = await show(session, id.data);
  if (unknown === undefined) return 0;
  if (!(await isModel(session, asked))) throw unknown;
  return plan(session, asked, message);
}

async function list(session: Session): Promise<number> {
  const client = await session.client();
  const { requests } = await client.modelRequests({ limit: LISTED });
  session.show({ requests }, () => (requests.length === 0 ? `${NOTHING}\n` : requestTable(session.terminal, requests)));
  return 0;
}

/** Returns the error where there is no such request. */
async function show(session: Session, id: ModelRequestId): Promise<ClusterError | undefined> {
  const client = await session.client();
  try {
    const request = await client.modelRequest({ id });
    session.show(request, () => requestText(session.terminal, request));
    return undefined;
  } catch (error) {
    if (error instanceof ClusterError && error.code === "not_found") return error;
    throw error;
  }
}

async function isModel(session: Session, name: string): Promise<boolean> {
  const { models } = await (await session.client()).models();
  return models.some(({ id }) => id.toLowerCase() === name);
}

async function plan(session: Session, model: string, content = MESSAGE): Promise<number> {
  const client = await session.client();
  const planned = await client.planModel({ model, messages: [{ role: "user", content }], stream: true });
  session.show(planned, () => planText(session.terminal, model, planned));
  return planned.candidates.length > 0 ? 0 : 1;
}
