/** What the steady load writes, and the probe whose way to the replica is timed. */
import { createTable, fill, rowOf, TENANTS } from '../data/tables.ts';

/** Row changes of one transaction of the load: an update by key and an insert, of one tenant. */
export const ROWS_EACH = 2;
/** Rows a tenant has when the load begins. */
const KEYS = 100;

export const LIVE_TABLES = ['live', 'probe'] as const;

export const LIVE_SCHEMA = `
${createTable('live')}
${fill('live', TENANTS * KEYS)}
CREATE TABLE probe (tenant_id text NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant_id, id));
CREATE SEQUENCE live_id START ${TENANTS * KEYS};
CREATE FUNCTION live_transaction(t bigint, k bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE i bigint := nextval('live_id');
BEGIN
  UPDATE live SET amount = amount + 1, status = 'changed', updated_at = now()
    WHERE tenant_id = 't' || lpad(t::text, 4, '0') AND id = t + ${TENANTS} * k;
  INSERT INTO live SELECT ${rowOf('i', 't')};
END $$;`;

/** The replica says itself when a probe has become visible: a notification goes out when its transaction has committed. */
export const PROBE_CHANNEL = 'probe';
export const REPLICA_SCHEMA = `
CREATE FUNCTION tell_probe() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_catalog.pg_notify('${PROBE_CHANNEL}', NEW.id::pg_catalog.text); RETURN NEW; END $$;
CREATE TRIGGER tell_probe AFTER INSERT ON probe FOR EACH ROW EXECUTE FUNCTION tell_probe();
ALTER TABLE probe ENABLE ALWAYS TRIGGER tell_probe;`;

/** pgbench's script, of so many tenants alike. */
export const liveScript = (tenants: number): string => `\\set t random(0, ${tenants - 1})
\\set k random(0, ${KEYS - 1})
SELECT live_transaction(:t, :k);
`;
