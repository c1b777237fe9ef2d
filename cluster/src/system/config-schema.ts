/**
 * Every setting of a node, once: name, type, default, environment variable and description. cluster.yaml is checked
 * by it, `config schema` prints it as JSON Schema, docs/cli.md lists the same fields (a test compares).
 *
 * C1. A setting that has no effect is not in here. Secrets are never settings; settings name files that hold them.
 */
import { isIP } from "node:net";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { ModelServerKind } from "@openclaw-cluster/contract/models";
import { Labels, Strategy } from "@openclaw-cluster/contract/task-spec";
import { z } from "zod";

/** A leaf: what it means, and the variable that overrides the file. */
const field = <T extends z.ZodType>(type: T, env: string, description: string): T => type.meta({ description, env });

const Port = z.int().min(0).max(65_535);
const Path = z.string().min(1).max(4_096);
/** Settings are shown (`config get`) and addresses are logged; the Gateway's dashboard has its token behind the # of its own. */
const isBare = (text: string): boolean => {
  const url = URL.parse(text);
  return url === null || `${url.username}${url.password}${url.search}${url.hash}` === "";
};
const address = (protocol: RegExp): z.ZodType<string, string> =>
  z
    .url({ protocol })
    .refine(isBare, "an address without a user, a password, and what follows ? or #: a token goes into a file, which tokenFile names");

/** Several on one line are a list: of a comma no host's name is made. */
const CoordinatorUrl = address(/^https?$/).refine((text) => !text.includes(","), "one address, or a list of them");

/** This machine's address in the tailnet, or in the network around it, whatever that is at the start. */
export const TAILSCALE = "tailscale";
export const LAN = "lan";
const Host = z
  .string()
  .min(1)
  .max(253)
  .refine(
    (host) => [TAILSCALE, LAN, "localhost"].includes(host) || (isIP(host) !== 0 && !host.includes("%")),
    "name an address of this machine, as 127.0.0.1 or 192.168.1.5, or say lan or tailscale for its address there",
  );

const Login = z.string().regex(/^\S{1,128}$/, "a login as ann@example.com, or a tag as tag:server");

export const Role = z.enum(["coordinator", "worker", "witness"]);
export type Role = z.infer<typeof Role>;

export const ConfigSchema = z
  .strictObject({
    clusterName: field(z.string().min(1).max(64).default("openclaw"), "OPENCLAW_CLUSTER_NAME", "What people call the cluster."),
    nodeId: field(
      NodeId.optional(),
      "OPENCLAW_CLUSTER_NODE_ID",
      "This machine's id in the cluster: 1 to 32 characters of a-z and 0-9. Made from the host's name at the first start and kept.",
    ),
    roles: field(
      z
        .array(Role)
        .min(1)
        .max(2)
        .refine((roles) => !roles.includes("witness") || roles.length === 1, "a witness does nothing else")
        .default(["coordinator", "worker"]),
      "OPENCLAW_CLUSTER_ROLES",
      "What this machine's daemon does: coordinator (leads), worker (carries out tasks), or both; or witness (a third vote where only two machines can lead: `promote --witness` sets it).",
    ),
    api: z
      .strictObject({
        host: field(
          Host.default("127.0.0.1"),
          "OPENCLAW_CLUSTER_API_HOST",
          "Address that the coordinator's HTTP API and nats-server listen on. `tailscale`: this machine's in the tailnet. `lan`: its own in the local network. Off the loopback and the tailnet both speak TLS.",
        ),
        public: field(
          z.boolean().default(false),
          "OPENCLAW_CLUSTER_API_PUBLIC",
          "Lets api.host be an address that the whole internet may reach, or every address at once (0.0.0.0, ::).",
        ),
        port: field(Port.default(8888), "OPENCLAW_CLUSTER_API_PORT", "Port of the HTTP API; 0 takes a free one."),
        allowedHosts: field(
          z.array(z.string().min(1).max(253)).max(32).default([]),
          "OPENCLAW_CLUSTER_API_ALLOWED_HOSTS",
          "Further names that a request's Host header may carry, as behind `tailscale serve`; the certificate names them too.",
        ),
      })
      .prefault({}),
    nats: z
      .strictObject({
        port: field(
          Port.optional(),
          "OPENCLAW_CLUSTER_NATS_PORT",
          "Port of the coordinator's own nats-server. Unless said: 4222 or, when that is in use, a free one that is then kept. 0: any free one.",
        ),
        binary: field(Path.optional(), "OPENCLAW_CLUSTER_NATS_BIN", "The nats-server program, where it should not be looked for."),
        dataFolder: field(
          Path.optional(),
          "OPENCLAW_CLUSTER_NATS_DATA",
          "Where nats-server keeps its streams; data/nats in the cluster's folder unless said.",
        ),
      })
      .prefault({}),
    store: z
      .strictObject({
        kind: field(
          z.enum(["sqlite", "etcd"]).default("sqlite"),
          "OPENCLAW_CLUSTER_STORE",
          "Where the coordinator keeps its tasks: sqlite (a file of this machine's) or etcd (shared by the control nodes). `promote` and `store migrate` change it.",
        ),
        endpoints: field(
          z
            .array(address(/^https?$/))
            .max(16)
            .default([]),
          "OPENCLAW_CLUSTER_ETCD_ENDPOINTS",
          "Addresses of an etcd that runs already. Unless said, a control node runs a member of its own.",
        ),
        caFile: field(Path.optional(), "OPENCLAW_CLUSTER_ETCD_CA_FILE", "File with the certificate of that etcd's authority."),
        certFile: field(Path.optional(), "OPENCLAW_CLUSTER_ETCD_CERT_FILE", "File with the certificate that it wants to see of a client."),
        keyFile: field(Path.optional(), "OPENCLAW_CLUSTER_ETCD_KEY_FILE", "File with that certificate's key."),
        prefix: field(
          z
            .string()
            .regex(/^[a-zA-Z0-9._-]+(\/[a-zA-Z0-9._-]+)*\/$/, "letters, digits, . _ - and /, with a / at the end")
            .max(128)
            .default("openclaw-cluster/"),
          "OPENCLAW_CLUSTER_ETCD_PREFIX",
          "What the names of this cluster's keys begin with there; clusters that share an etcd need one each.",
        ),
      })
      .prefault({}),
    control: z
      .strictObject({
        promote: field(
          z.enum(["allowed", "never"]).default("allowed"),
          "OPENCLAW_CLUSTER_CONTROL_PROMOTE",
          "Whether an administrator of the cluster may make this machine a control node (`promote`). It then listens for the others and keeps the cluster's keys.",
        ),
      })
      .prefault({}),
    join: z
      .strictObject({
        tailscaleLogin: field(
          z.array(Login).max(64).default([]),
          "OPENCLAW_CLUSTER_JOIN_TAILSCALE_LOGIN",
          "Only machines of these Tailscale logins (ann@example.com) or tags (tag:server) may join; empty: any that has a code.",
        ),
      })
      .prefault({}),
    coordinator: z
      .strictObject({
        url: field(
          z.union([CoordinatorUrl, z.array(CoordinatorUrl).min(1).max(LIMITS.coordinatorUrlsMax)]).optional(),
          "OPENCLAW_CLUSTER_COORDINATOR_URL",
          "Where the coordinator's API is, for a machine that only works; a list where there are several control nodes. What they tell of each other is kept besides.",
        ),
        tokenFile: field(Path.optional(), "OPENCLAW_CLUSTER_COORDINATOR_TOKEN_FILE", "File that holds the API token for it."),
        caFile: field(
          Path.optional(),
          "OPENCLAW_CLUSTER_COORDINATOR_CA_FILE",
          "File with the certificate of its authority, where `join` has not put it into data/coordinator.pem.",
        ),
      })
      .prefault({}),
    slots: field(
      z.int().min(1).max(1_024).optional(),
      "OPENCLAW_CLUSTER_SLOTS",
      "Tasks that run here at once; unless said, the number of processors, at least 2 and at most 8.",
    ),
    diskFloorMiB: field(
      z.int().min(0).max(1_048_576).default(256),
      "OPENCLAW_CLUSTER_DISK_FLOOR_MIB",
      "With less free disk than this the machine takes no new work until there is room again; 0: only when a write has failed.",
    ),
    labels: field(Labels.default({}), "OPENCLAW_CLUSTER_LABELS", "What this machine is known for, as {gpu: yes, room: office}."),
    models: z
      .strictObject({
        enabled: field(
          z.enum(["auto", "off"]).default("auto"),
          "OPENCLAW_CLUSTER_MODELS",
          "auto: models of this machine's Ollama, LM Studio, llama.cpp, vLLM or MLX are lent to the other nodes, as far as policy.yaml allows, and those of all nodes are at hand on this machine's loopback. off: neither.",
        ),
        port: field(
          Port.optional(),
          "OPENCLAW_CLUSTER_MODELS_PORT",
          "Port on the loopback where this machine finds the models of all nodes, as OpenAI's API. Unless said: 7801 or, when that is in use, a free one that is then kept.",
        ),
        endpoints: field(
          z
            .array(
              z.strictObject({
                name: z.string().regex(/^[a-z0-9-]{1,32}$/, "1 to 32 of a-z, 0-9 and -"),
                url: address(/^https?$/),
                kind: ModelServerKind.optional(),
                apiKeyFile: Path.optional(),
                paid: z.boolean().optional(),
              }),
            )
            .max(16)
            .default([]),
          "OPENCLAW_CLUSTER_MODELS_ENDPOINTS",
          "Model servers of this machine or next to it, beside those at their usual ports of the loopback: name, url, and where needed kind, apiKeyFile, and `paid: true` for what costs money.",
        ),
        aliases: field(
          z.record(z.string().min(1).max(64), z.array(z.string().min(1).max(320)).min(1).max(16)).default({}),
          "OPENCLAW_CLUSTER_MODELS_ALIASES",
          "Names for models, each with what it stands for, in the order of preference: `{ fast: [qwen3:8b, auto] }`. The control node that leads goes by its own.",
        ),
      })
      .prefault({}),
    openclaw: z
      .strictObject({
        enabled: field(
          z.enum(["auto", "off"]).default("auto"),
          "OPENCLAW_CLUSTER_OPENCLAW",
          "auto: use this machine's OpenClaw Gateway where there is one. off: never.",
        ),
        url: field(
          address(/^(wss?|https?)$/).optional(),
          "OPENCLAW_CLUSTER_OPENCLAW_URL",
          "The Gateway's address, where it should not be read from OpenClaw's own settings.",
        ),
        tokenFile: field(
          Path.optional(),
          "OPENCLAW_CLUSTER_OPENCLAW_TOKEN_FILE",
          "File that holds the Gateway's token, where it is not OpenClaw's own.",
        ),
      })
      .prefault({}),
    strategy: field(Strategy.default("balanced"), "OPENCLAW_CLUSTER_STRATEGY", "How nodes are chosen for tasks that do not say."),
    retention: z
      .strictObject({
        days: field(
          z.int().min(1).max(3_650).optional(),
          "OPENCLAW_CLUSTER_RETENTION_DAYS",
          "Finished tasks are kept for so many days. Unless said: 30, and 7 in etcd.",
        ),
        tasks: field(
          z.int().min(0).max(100_000_000).optional(),
          "OPENCLAW_CLUSTER_RETENTION_TASKS",
          "At most so many finished tasks are kept; of more, those that ended first go. 0: any number. Unless said: any, and 20000 in etcd.",
        ),
      })
      .prefault({}),
    backup: z
      .strictObject({
        everyHours: field(
          z.int().min(0).max(8_760).default(24),
          "OPENCLAW_CLUSTER_BACKUP_EVERY_HOURS",
          "The coordinator copies its database when the newest copy is older than this; 0: only when asked.",
        ),
        keep: field(
          z.int().min(1).max(1_000).default(7),
          "OPENCLAW_CLUSTER_BACKUP_KEEP",
          "So many of these copies are kept, the newest ones.",
        ),
        folder: field(
          Path.optional(),
          "OPENCLAW_CLUSTER_BACKUP_FOLDER",
          "Where they go, best on another disk; backups in the cluster's folder unless said.",
        ),
      })
      .prefault({}),
    log: z
      .strictObject({
        level: field(
          z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
          "OPENCLAW_CLUSTER_LOG_LEVEL",
          "What the daemon writes to its log.",
        ),
        format: field(
          z.enum(["text", "json"]).default("text"),
          "OPENCLAW_CLUSTER_LOG_FORMAT",
          "How `openclaw-cluster logs` shows it; the file itself is always JSON lines.",
        ),
      })
      .prefault({}),
  })
  .meta({ title: "OpenClaw Cluster, settings of one machine (cluster.yaml)" });

type Patch<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]?: Patch<T[K]> | null | undefined } : T;
/** Some settings; null takes one back out of the file. */
export type ConfigPatch = Patch<z.input<typeof ConfigSchema>>;

export interface Field {
  /** `api.port` */
  readonly name: string;
  readonly path: readonly string[];
  readonly type: z.ZodType;
  readonly env: string;
  readonly description: string;
}

/** Every leaf of the schema, in its order. */
export const FIELDS: readonly Field[] = Object.entries(ConfigSchema.shape).flatMap(([name, type]) =>
  type instanceof z.ZodPrefault
    ? Object.entries(type.unwrap().shape).map(([part, leaf]) => describe([name, part], leaf as z.ZodType))
    : [describe([name], type)],
);

function describe(path: readonly string[], type: z.ZodType): Field {
  const { env, description } = type.meta() as { env: string; description: string };
  return { name: path.join("."), path, type, env, description };
}

export function configJsonSchema(): unknown {
  return z.toJSONSchema(ConfigSchema, { io: "input" });
}
