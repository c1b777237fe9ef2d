/**
 * Finds the file that a program's name means, as the system would, but before it is started: the policy must judge the
 * real file, and a missing program must be told apart from a missing folder.
 */
import { access, constants, realpath, stat } from "node:fs/promises";
import path from "node:path";

export interface Program {
  /** To be started. */
  readonly file: string;
  /** The same with links followed; to be judged. */
  readonly real: string;
}

/** `name` is a bare name or an absolute path. Relative folders in `searchPath` are passed over: they depend on the cwd. */
export async function findProgram(name: string, searchPath: string): Promise<Program | undefined> {
  const folders = path.isAbsolute(name) ? [""] : searchPath.split(path.delimiter).filter((folder) => path.isAbsolute(folder));
  const endings = process.platform === "win32" && path.extname(name) === "" ? [".exe", ".com"] : [""];
  for (const folder of folders) {
    for (const ending of endings) {
      const file = (folder === "" ? name : path.join(folder, name)) + ending;
      if (await isExecutable(file)) return { file, real: await realpath(file) };
    }
  }
  return undefined;
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EACCES" || code === "ENOTDIR" || code === "ELOOP" || code === "ENAMETOOLONG") return false;
    throw error;
  }
}
