/**
 * Reads a policy.yaml once, as the daemon does and as `policy check` shows it.
 *
 * R1. A file that holds any fault is broken as a whole: a rule that was left out could be the one that denies.
 */
import { readFileSync, statSync, type Stats } from "node:fs";
import { Policy } from "../core/policy.ts";
import { faultText, readYaml, schemaFaults, syntaxFault, type Fault } from "../system/yaml-document.ts";

const FILE_BYTES_MAX = 1024 * 1024;
const FAULTS_TOLD_MAX = 20;
const OTHERS_MAY_WRITE = 0o002;

/** A fault of the file itself has no line. */
export type PolicyFault = Omit<Fault, "line"> & Partial<Pick<Fault, "line">>;
export type PolicyReading =
  | { readonly kind: "absent" }
  | { readonly kind: "read"; readonly policy: Policy }
  | { readonly kind: "broken"; readonly faults: readonly PolicyFault[] };

export function readPolicy(file: string): PolicyReading {
  try {
    const stats = statSync(file);
    const unfit = unfitness(stats);
    return unfit === undefined ? parsePolicy(readFileSync(file, "utf8")) : broken({ message: unfit });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? { kind: "absent" } : broken({ message });
  }
}

function unfitness(stats: Stats): string | undefined {
  if (!stats.isFile()) return "it is not a file";
  if (stats.size > FILE_BYTES_MAX) return `it is larger than ${FILE_BYTES_MAX} bytes`;
  if (process.platform !== "win32" && (stats.mode & OTHERS_MAY_WRITE) !== 0)
    return "everybody on this machine may write it: chmod 600 takes that away";
  return undefined;
}

function parsePolicy(text: string): PolicyReading {
  const yaml = readYaml(text);
  const fault = syntaxFault(yaml);
  if (fault !== undefined) return broken(fault);
  const parsed = Policy.safeParse(yaml.document.toJS());
  return parsed.success ? { kind: "read", policy: parsed.data } : broken(...toTell(schemaFaults(yaml, parsed.error)));
}

/** As they stand in the file. */
const toTell = (faults: Fault[]): Fault[] => faults.sort((a, b) => a.line - b.line).slice(0, FAULTS_TOLD_MAX);
const broken = (...faults: PolicyFault[]): PolicyReading => ({ kind: "broken", faults });

/** One line for each. */
export function policyFaultText(file: string, { line, ...fault }: PolicyFault): string {
  return line === undefined ? `${file}: ${fault.message}` : faultText(file, { line, ...fault });
}
