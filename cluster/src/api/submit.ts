/**
 * POST /tasks, the hot route: one spec or an array of them, made or planned. Everything is checked before the
 * coordinator sees any of it, so a request with one bad spec makes no task at all.
 */
import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { z } from "zod";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { userOf } from "../core/visibility.ts";
import type { ApiTokenRow } from "../store/store.ts";
import { json } from "./answers.ts";
import type { Bodies, Body } from "./body.ts";
import { check, checkBody } from "./check.ts";

const KEY_FORM = /^[\x20-\x7e]{1,256}$/;
/** A number can grow when it is written out again: 1e20 becomes 21 digits. No other JSON grows more. */
const GROWTH_MAX = 6;

/** The array form, its tasks unchecked: they are taken one by one, and the first bad one ends it, so that a body full of faults stays cheap. */
const ArrayForm = z.strictObject({ tasks: z.array(z.unknown()).min(1).max(LIMITS.submitTasksMax) });

interface Parts {
  readonly coordinator: Coordinator;
  readonly bodies: Bodies;
}

export async function submit(
  { coordinator, bodies }: Parts,
  token: ApiTokenRow,
  incoming: IncomingMessage,
  plan: boolean,
): Promise<Response> {
  const key = incoming.headers["idempotency-key"];
  if (key !== undefined && (typeof key !== "string" || !KEY_FORM.test(key))) {
    throw new ClusterError("bad_request", "Idempotency-Key must be 1 to 256 printable ASCII characters.");
  }
  return bodies.read(incoming, (body) => take(coordinator, token, body, key, plan));
}

async function take(
  coordinator: Coordinator,
  token: ApiTokenRow,
  { raw, value }: Body,
  key: string | undefined,
  plan: boolean,
): Promise<Response> {
  const many = isArrayForm(value);
  const mayBeLarge = raw.length * GROWTH_MAX > LIMITS.specBytesMax;
  const specs = many
    ? check(ArrayForm, value, "").tasks.map((spec, index) => checkSpec(spec, `tasks[${index}]`, mayBeLarge))
    : [checkSpec(value, "", mayBeLarge)];
  const by = { owner: userOf(token), token: token.id };
  if (plan) {
    const plans = coordinator.plan(specs, by);
    return json(200, many ? { plans } : plans[0]);
  }
  const idempotency = key === undefined ? undefined : { key, bodyHash: hash("sha256", raw, "base64url") };
  const submitted = await coordinator.submit({ ...by, specs, ...(idempotency !== undefined && { idempotency }) });
  const status = submitted.every(({ replayed }) => replayed === true) ? 200 : 202;
  return json(status, many ? { tasks: submitted } : submitted[0]);
}

/** Told apart by hand: a union of both forms would answer a misspelt field with "invalid input". */
function isArrayForm(value: unknown): boolean {
  return typeof value === "object" && value !== null && "tasks" in value && !("kind" in value);
}

function checkSpec(spec: unknown, at: string, mayBeLarge: boolean): TaskSpec {
  if (mayBeLarge) {
    const bytes = Buffer.byteLength(JSON.stringify(spec));
    if (bytes > LIMITS.specBytesMax) {
      throw new ClusterError("payload_too_large", `${at || "The task"} has ${bytes} bytes; the limit is ${LIMITS.specBytesMax}.`);
    }
  }
  return checkBody(TaskSpec, spec, at);
}
