/** Language models that nodes lend, as a person reads them. */
import type { LentModel, ModelAbilities, ModelState } from "@openclaw-cluster/contract/models";
import { facts, table } from "./table.ts";
import { paint, plainLine, type Style, type Terminal } from "./terminal.ts";
import { mebibytes } from "./time.ts";

const STATE_STYLES: Record<ModelState, Style> = { loaded: "green", loading: "yellow", cold: "dim" };
const MARKS: Record<keyof ModelAbilities, string> = { chat: "chat", tools: "tools", vision: "vision", json: "json", embeddings: "embed" };
const BYTES_A_MIB = 1_048_576;
/** From here on a decimal place says nothing. */
const WHOLE_FROM = 10;

export function modelTable(terminal: Terminal, models: readonly LentModel[]): string {
  return table(terminal, models, [
    { title: "MODEL", value: ({ id }) => id },
    { title: "NODE", value: ({ node }) => node },
    { title: "SERVER", value: serverText },
    { title: "STATE", value: ({ state }) => state, style: ({ state }) => STATE_STYLES[state] },
    { title: "CONTEXT", value: ({ contextTokens: tokens }) => (tokens === undefined ? undefined : tokensText(tokens)), right: true },
    { title: "SIZE", value: sizeText, right: true },
    { title: "WEIGHTS", value: ({ quantization }) => quantization },
    { title: "BUSY", value: ({ slots }) => slots && `${slots.busy}/${slots.total}`, right: true },
    { title: "PAID", value: ({ paid }) => (paid === true ? "yes" : undefined) },
    { title: "CAN", value: canText },
  ]);
}

/** One place of a model, with everything that is known of it. */
export function modelFacts(terminal: Terminal, model: LentModel): string {
  const { contextTokens: tokens, slots, state, digest, quantization } = model;
  return facts(terminal, [
    ["model", plainLine(model.id)],
    ["node", model.node],
    ["server", plainLine(serverText(model))],
    ["state", `${paint(terminal, STATE_STYLES[state], state)}${state === "cold" ? ", the first request loads it" : ""}`],
    ["can", canText(model)],
    ["context", tokens === undefined ? undefined : `${tokens} tokens`],
    ["size", sizeText(model)],
    ["weights", quantization && plainLine(quantization)],
    ["busy", slots && `${slots.busy} of ${slots.total} at a time`],
    ["paid", model.paid === true ? "each answer costs money: it is asked only where an alias names it" : undefined],
    ["power", model.onBattery === true ? "on its battery: others are asked first" : undefined],
    ["digest", digest && plainLine(digest)],
  ]);
}

const sizeText = ({ sizeBytes }: LentModel): string | undefined =>
  sizeBytes === undefined ? undefined : mebibytes(sizeBytes / BYTES_A_MIB);

/** An endpoint that has a name of its own is said with it. */
const serverText = ({ server, endpoint }: LentModel): string => (server === endpoint ? server : `${server}/${endpoint}`);

function canText({ can }: LentModel): string {
  const marks = (Object.keys(MARKS) as (keyof ModelAbilities)[]).filter((ability) => can[ability]).map((ability) => MARKS[ability]);
  return marks.join(" ") || "-";
}

/** As people call windows: 131072 and 128000 are both 128k. */
export function tokensText(tokens: number): string {
  const step = tokens % 1_000 === 0 ? 1_000 : 1_024;
  if (tokens < step) return String(tokens);
  const [amount, unit] = tokens < step * step ? [tokens / step, "k"] : [tokens / step / step, "M"];
  return `${amount < WHOLE_FROM ? Number(amount.toFixed(1)) : Math.round(amount)}${unit}`;
}
