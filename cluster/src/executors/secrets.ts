/**
 * Gives a command the secrets that its task names, and keeps them out of everything that leaves this machine. It stands around the
 * executor for commands, which sees plain variables only.
 *
 * Q1. A value goes into the program's environment and nowhere else: the task as it is kept, told and logged holds its name.
 * Q2. What the program prints, and what is told of its end, goes through the redaction first.
 * Q3. A name that this node does not know refuses the attempt (secret_missing): another node may know it.
 */
import type { ErrorCode } from "@openclaw-cluster/contract/errors";
import type { CommandInput, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Outcome, OutputStream } from "@openclaw-cluster/contract/wire";
import { decide, type PolicySource } from "../core/policy.ts";
import { readSecrets, type Secrets } from "../system/secret-file.ts";
import type { Execution, Executor } from "./executors.ts";
import { Redaction } from "./redaction.ts";

type Command = Extract<TaskSpec, { kind: "command" }>;
/** A command whose variables are texts. */
export type PlainCommand = Omit<Command, "input"> & {
  readonly input: Omit<CommandInput, "env"> & { readonly env?: Readonly<Record<string, string>> };
};

export interface SecretParts {
  readonly policy: PolicySource;
  /** secrets.yaml; read when a task names a secret, so that a change counts at once. */
  readonly file: string;
}

export function withSecrets(command: Executor<"command">, { policy, file }: SecretParts): Executor<"command"> {
  return {
    ...command,
    async run(spec, execution) {
      const names = namedIn(spec);
      if (names.size === 0) return command.run(spec, execution);
      const decision = decide(policy.current(), spec);
      if (!decision.allow) return refused("policy_denied", `This node's policy: ${decision.reason}.`);
      const secrets = known(file, execution);
      const missing = [...names].filter((name) => !secrets.has(name));
      if (missing.length > 0) return refused("secret_missing", `This node has no secret ${missing.join(", ")}.`);
      const redaction = new Redaction([...names].map((name) => secrets.get(name) as string));
      const guarded = guard(execution, redaction);
      const outcome = await command.run(resolved(spec, secrets), guarded.execution);
      await guarded.end();
      return redacted(outcome, redaction);
    },
  };
}

function namedIn({ input }: Command): ReadonlySet<string> {
  return new Set(Object.values(input.env ?? {}).flatMap((value) => (typeof value === "string" ? [] : [value.secret])));
}

/** A file that gives none is told to the log, which is the owner's; whoever submits learns that the secret is not there. */
function known(file: string, { log }: Execution): Secrets {
  try {
    return readSecrets(file);
  } catch (error) {
    log.error({ err: error }, "the node's secrets cannot be read");
    return new Map();
  }
}

function resolved(spec: Command, secrets: Secrets): Command {
  const variables = Object.entries(spec.input.env ?? {}).map(([name, value]) => [
    name,
    typeof value === "string" ? value : (secrets.get(value.secret) as string),
  ]);
  return { ...spec, input: { ...spec.input, env: Object.fromEntries(variables) } };
}

/** The execution with its output redacted. By hand, because what lies behind its names is made only when it is asked for. */
function guard(execution: Execution, redaction: Redaction): { execution: Execution; end(): Promise<void> } {
  const streams = new Map<OutputStream, ReturnType<Redaction["stream"]>>();
  const streamOf = (name: OutputStream): ReturnType<Redaction["stream"]> => {
    const known = streams.get(name) ?? redaction.stream();
    streams.set(name, known);
    return known;
  };
  const { cluster, node, offer } = execution;
  return {
    execution: {
      ...{ cluster, node, offer },
      get signal() {
        return execution.signal;
      },
      get folder() {
        return execution.folder;
      },
      get log() {
        return execution.log;
      },
      async output(name, text, data) {
        const clean = streamOf(name).write(text);
        if (clean !== "" || data !== undefined)
          await execution.output(name, clean, data === undefined ? undefined : redaction.within(data));
      },
      progress: (progress) => execution.progress(redaction.within(progress)),
      acted: () => execution.acted(),
    },
    async end() {
      for (const [name, stream] of streams) {
        const rest = stream.end();
        if (rest !== "") await execution.output(name, rest);
      }
    },
  };
}

/** Codes and kinds stay what they are. */
function redacted(outcome: Outcome, redaction: Redaction): Outcome {
  if (outcome.kind === "succeeded")
    return outcome.result === undefined ? outcome : { ...outcome, result: redaction.within(outcome.result) };
  if (outcome.kind === "cancelled") return outcome;
  const { code, message, data } = outcome.error;
  return {
    ...outcome,
    error: { code, message: redaction.clean(message), ...(data !== undefined && { data: redaction.within(data) }) },
  };
}

function refused(code: ErrorCode, message: string): Outcome {
  return { kind: "refused", error: { code, message } };
}
