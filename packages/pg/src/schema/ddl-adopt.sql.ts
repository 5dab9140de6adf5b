/**
 * What `drover setup` gives a captured table, given in the transaction that makes it: policies, rights, a replica identity that names
 * the tenant, a place in the publication. A table is published before any other transaction can see it, so none of its rows
 * is missed. Whoever changes `setup/protect-plan.ts` or `setup/grants.ts` changes this, too: a test holds the two equal.
 */
import { DDL_SETTINGS } from './ddl-shape.sql.ts';

/** Returns the class, with `full` when this function chose REPLICA IDENTITY FULL. */
export const DDL_ADOPT_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.ddl_adopt(p_oid oid, p_class jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE ${DDL_SETTINGS}
AS $$
DECLARE
  c record; role text; missing text; name text; tag text; suffix text; reads text; writes text; use text; s record;
  captured boolean := p_class ->> 'kind' IN ('column', 'schema', 'reference');
  published boolean := EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
    WHERE p.pubname = 'drover' AND r.prrelid = p_oid);
  class jsonb := p_class;
  keyed boolean; parent record; own text;
BEGIN
  SELECT k.relispartition, k.relpersistence, k.relreplident, k.relrowsecurity, k.relforcerowsecurity, n.nspname, k.relname, k.relowner,
    o.rolname AS owner, o.rolsuper OR o.rolbypassrls AS bypasses INTO STRICT c
  FROM pg_catalog.pg_class k JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace JOIN pg_catalog.pg_roles o ON o.oid = k.relowner
  WHERE k.oid = p_oid;
  name := pg_catalog.format('%I.%I', c.nspname, c.relname);
  IF captured AND c.relpersistence = 'p' THEN
    FOREACH role IN ARRAY ARRAY['drover_admin', 'drover_cdc', 'drover_apply', 'drover_tenant'] LOOP
      IF NOT pg_catalog.has_schema_privilege(role, c.nspname, 'USAGE') THEN
        EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', c.nspname, role);
      END IF;
    END LOOP;
    IF p_class ->> 'kind' = 'column' THEN
      SELECT CASE WHEN t.typname IN ('text', 'varchar') THEN '' WHEN t.typname IN ('int2', 'int4', 'int8') THEN '_bigint'
        WHEN t.typname = 'uuid' THEN '_uuid' END INTO suffix
      FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
      WHERE a.attrelid = p_oid AND a.attname = p_class ->> 'column' AND NOT a.attisdropped AND t.typnamespace = 'pg_catalog'::regnamespace;
      tag := '"' || pg_catalog.replace(p_class ->> 'column', '"', '""') || '"';
    ELSIF p_class ->> 'kind' = 'schema' THEN
      suffix := '';
      tag := pg_catalog.quote_literal(p_class ->> 'tenant');
    END IF;
    IF suffix IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy l WHERE l.polrelid = p_oid AND l.polname = 'drover_base') THEN
      reads := pg_catalog.format('%s OPERATOR(pg_catalog.=) (SELECT drover.tenant%s())', tag, suffix);
      writes := pg_catalog.format('%s OPERATOR(pg_catalog.=) (SELECT drover.writer%s())', tag, suffix);
      EXECUTE 'CREATE POLICY drover_base ON ' || name || ' TO drover_tenant USING (true) WITH CHECK (true)';
      EXECUTE 'CREATE POLICY drover_select ON ' || name || ' AS RESTRICTIVE FOR SELECT TO drover_tenant USING (' || reads || ')';
      EXECUTE 'CREATE POLICY drover_insert ON ' || name || ' AS RESTRICTIVE FOR INSERT TO drover_tenant WITH CHECK (' || writes || ')';
      EXECUTE 'CREATE POLICY drover_update ON ' || name || ' AS RESTRICTIVE FOR UPDATE TO drover_tenant USING (' || reads || ') WITH CHECK (' || writes || ')';
      EXECUTE 'CREATE POLICY drover_delete ON ' || name || ' AS RESTRICTIVE FOR DELETE TO drover_tenant USING (' || writes || ')';
      -- To everybody: roles that are granted rights later must not be shut out. drover_tenant is held by the restrictive ones.
      EXECUTE 'CREATE POLICY drover_passthrough ON ' || name || ' TO PUBLIC USING (true) WITH CHECK (true)';
      EXECUTE pg_catalog.format('COMMENT ON POLICY drover_base ON %s IS %L', name, 'drover: true / true');
      EXECUTE pg_catalog.format('COMMENT ON POLICY drover_select ON %s IS %L', name, 'drover: ' || reads || ' / -');
      EXECUTE pg_catalog.format('COMMENT ON POLICY drover_insert ON %s IS %L', name, 'drover: - / ' || writes);
      EXECUTE pg_catalog.format('COMMENT ON POLICY drover_update ON %s IS %L', name, 'drover: ' || reads || ' / ' || writes);
      EXECUTE pg_catalog.format('COMMENT ON POLICY drover_delete ON %s IS %L', name, 'drover: ' || writes || ' / -');
      EXECUTE pg_catalog.format('COMMENT ON POLICY drover_passthrough ON %s IS %L', name, 'drover: goes on: '
        || CASE WHEN NOT c.relrowsecurity THEN 'all' WHEN c.relforcerowsecurity THEN 'none' ELSE 'owner' END);
      IF NOT c.relrowsecurity THEN
        EXECUTE 'ALTER TABLE ' || name || ' ENABLE ROW LEVEL SECURITY';
      END IF;
      IF NOT c.relforcerowsecurity AND c.bypasses THEN
        EXECUTE 'ALTER TABLE ' || name || ' FORCE ROW LEVEL SECURITY';
      END IF;
    END IF;
    use := CASE WHEN c.relispartition OR suffix IS NULL AND p_class ->> 'kind' <> 'reference' THEN 'hidden'
      WHEN p_class ->> 'kind' = 'reference' THEN 'reference' ELSE 'tenant' END;
    FOR role, missing IN
      SELECT w.role, pg_catalog.string_agg(w.privilege, ', ') FROM (
        VALUES ('drover_admin', 'SELECT'), ('drover_cdc', 'SELECT'), ('drover_apply', 'SELECT'), ('drover_apply', 'INSERT'), ('drover_apply', 'UPDATE'),
          ('drover_apply', 'DELETE'), ('drover_apply', 'TRUNCATE'), ('drover_tenant', CASE WHEN use <> 'hidden' THEN 'SELECT' END),
          ('drover_tenant', CASE WHEN use = 'tenant' THEN 'INSERT' END), ('drover_tenant', CASE WHEN use = 'tenant' THEN 'UPDATE' END),
          ('drover_tenant', CASE WHEN use = 'tenant' THEN 'DELETE' END)) AS w (role, privilege)
      WHERE w.privilege IS NOT NULL AND w.role <> c.owner AND NOT EXISTS (SELECT FROM pg_catalog.pg_class k, pg_catalog.aclexplode(k.relacl) x
        WHERE k.oid = p_oid AND x.privilege_type = w.privilege AND x.grantee = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = w.role))
      GROUP BY w.role ORDER BY w.role
    LOOP
      EXECUTE pg_catalog.format('GRANT %s ON TABLE %s TO %I', missing, name, role);
    END LOOP;
    FOR s IN
      SELECT DISTINCT q.oid, pg_catalog.format('%I.%I', sn.nspname, q.relname) AS name FROM pg_catalog.pg_depend d
      JOIN pg_catalog.pg_class q ON q.relkind = 'S' AND q.oid = CASE WHEN d.classid = 'pg_catalog.pg_class'::regclass THEN d.objid ELSE d.refobjid END
      JOIN pg_catalog.pg_namespace sn ON sn.oid = q.relnamespace
      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = p_oid AND d.deptype IN ('a', 'i')
        OR d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
          AND d.objid IN (SELECT ad.oid FROM pg_catalog.pg_attrdef ad WHERE ad.adrelid = p_oid)
    LOOP
      FOR role, missing IN SELECT w.role, w.privilege FROM (VALUES ('drover_admin', 'SELECT'), ('drover_cdc', 'SELECT'), ('drover_apply', 'SELECT'),
          ('drover_apply', 'UPDATE'), ('drover_tenant', CASE WHEN use = 'tenant' THEN 'USAGE' END)) AS w (role, privilege)
        WHERE w.privilege IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_class k, pg_catalog.aclexplode(k.relacl) x
          WHERE k.oid = s.oid AND x.privilege_type = w.privilege AND x.grantee = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = w.role))
      LOOP
        EXECUTE pg_catalog.format('GRANT %s ON SEQUENCE %s TO %I', missing, s.name, role);
      END LOOP;
    END LOOP;
    -- What the WAL holds of an old row is decided by the partition, which does not inherit its table's identity. Those of the application's own choice stay.
    IF c.relispartition AND c.relreplident = 'd' THEN
      SELECT k.relreplident, x.indexrelid AS index INTO parent FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class k ON k.oid = i.inhparent
      LEFT JOIN pg_catalog.pg_index x ON x.indrelid = k.oid AND x.indisreplident WHERE i.inhrelid = p_oid;
      IF parent.relreplident = 'f' THEN
        EXECUTE 'ALTER TABLE ' || name || ' REPLICA IDENTITY FULL';
      ELSIF parent.relreplident = 'i' THEN
        SELECT k.relname INTO own FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_index x ON x.indexrelid = i.inhrelid AND x.indrelid = p_oid
        JOIN pg_catalog.pg_class k ON k.oid = x.indexrelid WHERE i.inhparent = parent.index;
        IF own IS NOT NULL THEN
          EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', name, own);
        END IF;
      END IF;
    END IF;
    -- Without an identity PostgreSQL would refuse the application's UPDATE and DELETE; without the tenant in it nobody could tell whose they are.
    IF NOT c.relispartition THEN
      keyed := EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = p_oid AND x.indisprimary AND (p_class ->> 'kind' <> 'column'
        OR (SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = p_oid AND a.attname = p_class ->> 'column') = ANY (x.indkey::int2[])));
      IF NOT keyed AND c.relreplident = 'd' AND (NOT EXISTS (SELECT FROM drover.ddl_shape h WHERE h.oid = p_oid::bigint)
          OR NOT EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = p_oid AND x.indisprimary)) THEN
        EXECUTE 'ALTER TABLE ' || name || ' REPLICA IDENTITY FULL';
        class := class || '{"full": true}';
      ELSIF c.relreplident = 'f' AND (SELECT h.class ->> 'full' FROM drover.ddl_shape h WHERE h.oid = p_oid::bigint) = 'true' THEN
        IF keyed THEN
          EXECUTE 'ALTER TABLE ' || name || ' REPLICA IDENTITY DEFAULT';
        ELSE
          class := class || '{"full": true}';
        END IF;
      END IF;
    END IF;
  END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = 'drover' AND NOT p.puballtables) THEN
    IF captured AND c.relpersistence = 'p' AND NOT c.relispartition AND NOT published THEN
      EXECUTE 'ALTER PUBLICATION drover ADD TABLE ' || name;
    ELSIF published AND (NOT captured OR c.relispartition) THEN
      EXECUTE 'ALTER PUBLICATION drover DROP TABLE ' || name;
    END IF;
  END IF;
  RETURN class;
END $$`;
