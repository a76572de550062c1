/** What this program can do, as its `nod` record tells the other members (`cap`): ascending. */
export const capabilities: readonly string[] = ['rec2'];
