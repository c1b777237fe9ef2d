/**
 * The shelf of this machine's models: the servers of its settings, and those that are found at the well-known ports of its loopback.
 *
 * H1. Each place is looked at by itself, so that one that hangs holds up no other.
 * H2. A server that is set and stands at a well-known port is one, and has the name that it was given.
 * H3. A pair of endpoint and id stands once in the list, and the list never has more than NODE_MODELS_MAX.
 * H4. A listener is told of a list that differs, never of a look.
 */
import { NODE_MODELS_MAX, type ModelServerKind, type NodeModelOffer } from "@openclaw-cluster/contract/models";
import { isEvery, isSameAddress, reachOf } from "../../system/address.ts";
import type { Clock } from "../../system/clock.ts";
import type { Log } from "../../system/log.ts";
import { ownAddresses } from "../../system/own-addresses.ts";
import { sparingLog } from "../../system/sparing-log.ts";
import { askServer } from "./call.ts";
import { ModelFault, type ModelEndpoint, type ModelShelf } from "../models.ts";
import { rootOf } from "./model-server.ts";
import { ShelfPlace } from "./shelf-place.ts";

/** Ollama, LM Studio, llama-server (and mlx_lm.server), vLLM, mlx-omni-server. */
const WELL_KNOWN_PORTS: readonly number[] = [11434, 1234, 8080, 8000, 10240];
/** At these a server bears its kind as its name; at another port the port is added. */
const HOME_PORTS: Readonly<Partial<Record<ModelServerKind, readonly number[]>>> = {
  ollama: [11434],
  lmstudio: [1234],
  llamacpp: [8080],
  vllm: [8000],
  mlx: [8080],
};

/** Of one place in the log in a minute: a server that comes and goes must not fill it. */
const LINES_MAX = 4;

export interface ShelfParts {
  readonly endpoints: readonly ModelEndpoint[];
  /** Are the well-known ports looked at? */
  readonly wellKnown: boolean;
  /** Others than those, for tests. */
  readonly ports?: readonly number[];
  readonly clock: Clock;
  readonly log: Log;
  /** Until a model's first word; call.ts says how long otherwise. */
  readonly firstByteMs?: number;
  readonly idleMs?: number;
}

export function openModelShelf(parts: ShelfParts): ModelShelf {
  const { endpoints, wellKnown, ports = WELL_KNOWN_PORTS, clock, log, firstByteMs, idleMs } = parts;
  const listeners = new Set<() => void>();
  const sparing = sparingLog(log, clock, LINES_MAX);
  let models: readonly NodeModelOffer[] = [];

  // H4
  const gather = (): void => {
    const seen = listed(places.flatMap(({ offers }) => offers));
    if (JSON.stringify(seen) === JSON.stringify(models)) return;
    models = seen;
    for (const listener of listeners) listener();
  };
  const place = { clock, log: sparing, onChange: gather };
  const set = endpoints.filter(({ url }) => isWeb(url));
  for (const { name, url } of endpoints) if (!isWeb(url)) log.warn({ endpoint: name }, "the address of a model server is none");
  const names = new Set(set.map(({ name }) => name));
  const unset = wellKnown ? ports.filter((port) => !set.some(({ url }) => isHere(url, port))) : [];
  const places: readonly ShelfPlace[] = [
    ...set.map(
      ({ name, url, apiKey, kind, paid }) => new ShelfPlace({ ...place, url, apiKey, kind, paid, isSet: true, nameFor: () => name }),
    ),
    ...unset.map(
      (port) => new ShelfPlace({ ...place, url: `http://127.0.0.1:${port}`, isSet: false, nameFor: (kind) => nameOf(kind, port, names) }),
    ),
  ];
  for (const one of places) one.start();

  return {
    get models() {
      return models;
    },
    onChange(listener) {
      listeners.add(listener);
      return { stop: () => listeners.delete(listener) };
    },
    async look() {
      await Promise.all(places.map((one) => one.look()));
    },
    async ask(question, signal) {
      const { endpoint, model } = question;
      const at = places.find(({ offers }) => offers.some((offer) => offer.endpoint === endpoint && offer.id === model));
      const kind = at?.kind;
      if (at === undefined || kind === undefined) throw new ModelFault("unknown_model", `${endpoint} has no ${model}`);
      return await askServer({ server: at.server, kind, clock, firstByteMs, idleMs }, question, signal);
    },
    close() {
      listeners.clear();
      for (const one of places) one.close();
    },
  };
}

/** H3 */
function listed(offers: readonly NodeModelOffer[]): NodeModelOffer[] {
  const once = new Map<string, NodeModelOffer>();
  for (const offer of offers) {
    const key = JSON.stringify([offer.endpoint, offer.id]);
    if (!once.has(key)) once.set(key, offer);
    if (once.size === NODE_MODELS_MAX) break;
  }
  return [...once.values()];
}

function nameOf(kind: ModelServerKind, port: number, taken: ReadonlySet<string>): string {
  const isHome = HOME_PORTS[kind]?.includes(port) === true && !taken.has(kind);
  return isHome ? kind : `${kind}-${port}`;
}

const isWeb = (url: string): boolean => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);

/** H2. By any address of this machine: a server that listens at all of them is often set by that of its network. */
function isHere(url: string, port: number): boolean {
  const { protocol, hostname, port: said } = new URL(rootOf(url));
  const host = hostname.replaceAll(/^\[|\]$/g, "");
  if ((said === "" ? (protocol === "https:" ? 443 : 80) : Number(said)) !== port) return false;
  return reachOf(host) === "loopback" || isEvery(host) || ownAddresses().some(({ address }) => isSameAddress(address, host));
}
