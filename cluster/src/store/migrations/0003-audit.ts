/** The audit log: written once, never changed, read in the order of `seq`. */
export const sql = `
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  hash TEXT NOT NULL
) STRICT;
`;
