/**
 * One question at several addresses of which any may be dead: the next is asked too when one fails, or says nothing for a moment.
 *
 * A1. The first answer counts, and ends what is asked elsewhere. So does a fault that another address would tell in the same way.
 * A2. Where none answers, the error names what was tried, and is of a kind that passes by itself where any of them is.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";

export interface FirstAnswerOptions {
  /** How long one has the word alone. */
  readonly staggerMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Of a fault: asking elsewhere is of no use. */
  isLast(error: unknown): boolean;
}

/** `urls`: at least one, the likeliest first. With one alone its own fault is thrown. */
export async function firstAnswer<T>(
  urls: readonly string[],
  { staggerMs, signal, isLast }: FirstAnswerOptions,
  ask: (url: string, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const ended = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const faults: { readonly url: string; readonly error: unknown }[] = [];
  let started = 0;
  let timer: NodeJS.Timeout | undefined;
  const askNext = (): void => {
    clearTimeout(timer);
    const url = urls[started];
    if (url === undefined) return;
    started += 1;
    if (started < urls.length) timer = setTimeout(askNext, staggerMs);
    ask(url, ended).then(resolve, (error: unknown) => {
      faults.push({ url, error });
      if (isLast(error)) reject(error);
      else if (faults.length === urls.length || ended.aborted) reject(together(faults));
      else askNext();
    });
  };
  askNext();
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    over.abort();
  }
}

/** A2 */
function together(faults: readonly { readonly url: string; readonly error: unknown }[]): unknown {
  const [first] = faults;
  if (faults.length === 1) return first?.error;
  const told = faults.map(({ url, error }) => ({ url, error: error instanceof ClusterError ? error : undefined }));
  const passing = told.find(({ error }) => error?.row.retryable === true)?.error ?? told[0]?.error;
  if (passing === undefined) return first?.error;
  const waits = told.flatMap(({ error }) => (error?.retryAfterMs === undefined ? [] : [error.retryAfterMs]));
  const detail = faults
    .map(({ url, error }) => ({ url, text: error instanceof ClusterError ? error.detail.replace(/\.$/, "") : String(error) }))
    .map(({ url, text }) => (text.includes(url) ? text : `${url}: ${text}`))
    .join("; ");
  const options = waits.length === 0 ? {} : { retryAfterMs: Math.min(...waits) };
  return new ClusterError(passing.code, detail, { cause: first?.error, ...options });
}
