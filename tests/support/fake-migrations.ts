/** The migrations of a FakeCoordinator's store: what a test has said becomes of them. */
import type { Migration, MigrationRequest } from "@openclaw-cluster/contract/store-migration";
import { STARTED_AT } from "./fake-answers.ts";

export class FakeMigrations {
  /** Thrown by every method, once set. */
  fault: Error | undefined;
  /** What has become of the present one, one for each time that it is looked at. */
  readonly moves: Partial<Migration>[] = [];
  private moving: Migration | undefined;

  async migrateStore({ to }: MigrationRequest): Promise<Migration> {
    this.check();
    this.moving = { to, phase: "copying", startedAt: STARTED_AT, copied: 1, of: 3, behind: 0 };
    return this.moving;
  }

  storeMigration(): Migration | undefined {
    this.check();
    this.moving &&= { ...this.moving, ...this.moves.shift() };
    return this.moving;
  }

  protected check(): void {
    if (this.fault !== undefined) throw this.fault;
  }
}
