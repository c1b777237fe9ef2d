/** Times and amounts for people: short, one or two parts, never a long number. */

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
] as const;

/** 840ms, 3.2s, 42s, 5m10s, 3h5m, 4d2h. */
export function duration(ms: number): string {
  if (ms < 0) return "0s";
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)}s`;
  const index = UNITS.findIndex(([, size]) => ms >= size);
  const [[unit, size] = ["s", 1_000], next] = UNITS.slice(index, index + 2);
  const rest = next === undefined ? 0 : Math.floor((ms % size) / next[1]);
  return `${Math.floor(ms / size)}${unit}${rest > 0 && next !== undefined ? `${rest}${next[0]}` : ""}`;
}

/** How long ago: one part is enough. 12s, 5m, 3h, 4d. */
export function age(at: number, now: number): string {
  const ms = Math.max(0, now - at);
  const [unit, size] = UNITS.find(([, candidate]) => ms >= candidate) ?? ["s", 1_000];
  return `${Math.floor(ms / size)}${unit}`;
}

/** 14:03:22, in the zone of whoever reads. */
export function clockTime(at: number): string {
  const time = new Date(at);
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** 2026-11-22 14:03:22 */
export function dayAndTime(at: number): string {
  const day = new Date(at);
  const date = [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
  return `${date} ${clockTime(at)}`;
}

/** 96 KiB, 512 MiB, 15.6 GiB. */
export function mebibytes(amount: number): string {
  if (amount > 0 && amount < 1) return `${Math.ceil(amount * 1_024)} KiB`;
  return amount < 1_024 ? `${Math.round(amount)} MiB` : `${(amount / 1_024).toFixed(1)} GiB`;
}
