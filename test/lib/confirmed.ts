/** What a source has written so far is behind its readers, for good: on the bus, and the slots say so. */
type Ask = (sql: string, params?: readonly unknown[]) => Promise<readonly unknown[]>;

export async function untilConfirmed(
  ask: Ask,
  waitFor: (what: string, probe: () => Promise<boolean>) => Promise<unknown>,
): Promise<void> {
  const [now] = (await ask('SELECT pg_current_wal_lsn()::text AS lsn')) as { lsn: string }[];
  const past = `SELECT confirmed_flush_lsn >= $1::pg_lsn AS past FROM pg_replication_slots WHERE slot_name LIKE 'drover%'`;
  await waitFor('the slot is confirmed', async () => {
    const slots = (await ask(past, [now?.lsn])) as { past: boolean }[];
    return slots.length > 0 && slots.every((slot) => slot.past);
  });
}
