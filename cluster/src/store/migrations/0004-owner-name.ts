/** What the token was called with which a task was submitted: nodes decide by it, also when the token is gone. */
export const sql = `
ALTER TABLE specs ADD COLUMN owner_name TEXT;
`;
