/**
 * Every limit that a caller can meet, in one place. Bytes are UTF-8 bytes of JSON, times are milliseconds.
 * The bus carries at most 1 MiB a message (nats-server's default `max_payload`); the limits below leave room for
 * several tasks and an envelope in one message.
 */
export const LIMITS = {
  /** One HTTP body. An array of 500 tasks of 16 KiB fits. */
  bodyBytesMax: 8 * 1024 * 1024,
  /** Tasks in one POST. */
  submitTasksMax: 1_000,
  /** One task's spec as JSON. */
  specBytesMax: 256 * 1024,
  /** A result kept with its task; a larger one travels as a blob. */
  resultBytesInlineMax: 256 * 1024,
  /** A result in the object store. */
  resultBytesBlobMax: 64 * 1024 * 1024,
  /** Names in `require.skills`, `require.models`, `require.nodes`. */
  requireNamesMax: 32,
  labelsMax: 32,
  labelCharsMax: 128,
  /** Tasks that wait or run; beyond it submits are answered with 429. */
  liveTasksMax: 200_000,
  /** What their specs may take in the coordinator's memory, roughly (each character counts as three). */
  liveBytesMax: 1024 * 1024 * 1024,
  /** What one attempt may print before its output is cut. */
  outputBytesMax: 8 * 1024 * 1024,
  outputBytesCeiling: 256 * 1024 * 1024,
  /** One piece of output on the bus. */
  outputChunkBytesMax: 64 * 1024,
  /** The longest `?wait=`. */
  waitMsMax: 60_000,
  listMax: 500,
  /** Tasks that one bulk call changes, refuses or counts; then it says where to go on. Under two seconds. */
  bulkTasksMax: 10_000,
  bulkRefusalsShown: 20,
  /** Dead letters that one summary looks at, and groups that it makes of them. */
  deadTasksMax: 5_000,
  deadGroupsMax: 100,
  /** A caller waits this long for a backup; it goes on without one. 0.3 s were measured for 100 MiB. */
  backupMsMax: 600_000,
  /** Events kept for `Last-Event-ID`; an older id is answered with a `gap` event. */
  eventsKept: 8_192,
  /** What they may take together, results included. */
  eventBytesKept: 4 * 1024 * 1024,
  /** Open event and log streams, and those of one user, through all tokens that speak for them. */
  streamsMax: 256,
  streamsOfUserMax: 64,
  /** Operators may hold more of their own; but neither one of them nor all others together hold these last ones. */
  streamsReserved: 64,
  /** Addresses at which one cluster is reached: five control nodes, each with a few. */
  coordinatorUrlsMax: 16,
  /** Losses of its node, and other faults of infrastructure, that a task survives before it fails (DESIGN §4). */
  nodeLossesMax: 5,
  /** Times that a task waits for whoever throttles it before it fails: with an hour's Retry-After most of a day. */
  throttlesMax: 20,
} as const;
