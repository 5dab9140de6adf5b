/**
 * The signed tenant context (I6). `drover.context` is `<tenant token>|<epoch>|<hex hmac>` where the HMAC-SHA256 covers
 * `<tenant token>|<epoch>|<backend number>`. Any role can set the variable; only who holds the key can set it to
 * something that verifies, and only for the one backend whose number was signed.
 *
 * The backend number lives in the session's memory as `currval` of drover.backend: SQL of `drover_tenant` has no right on the
 * sequence, and nothing but attach() moves it. It is 21 random bits above a 32 bit counter: never the same twice in one history,
 * not guessable after a crash or a restore that sets the counter back, and below 2^53 so that JavaScript holds it exactly.
 *
 * No exception blocks: the functions run in init plans of parallel queries, where PostgreSQL 16 refuses subtransactions.
 * So a context of the right form in a backend that was never attached is an error (55000), not NULL.
 *
 * Cost (PostgreSQL 18.4 on 2 shared cores of the development machine, `fence-cost.bench.ts`): tenant() 5 us and writer() 10 us when warm
 * within a transaction. A whole autocommit statement by key: SELECT +16 us (28 to 44), UPDATE +50 us (33 to 83; four init plans),
 * INSERT or DELETE +35 us each (30 to 65).
 */
export const BACKEND_SEQUENCES = [
  'CREATE SEQUENCE IF NOT EXISTS drover.backend_counter',
  'CREATE SEQUENCE IF NOT EXISTS drover.backend',
];

export const ATTACH_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.attach() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
-- The number of this backend; given once, the same at every later call.
BEGIN
  RETURN pg_catalog.currval('drover.backend');
EXCEPTION WHEN object_not_in_prerequisite_state THEN
  RETURN pg_catalog.setval('drover.backend',
    (('x' || pg_catalog.left(pg_catalog.gen_random_uuid()::pg_catalog.text, 8))::pg_catalog.bit(32)::bigint & 2097151) << 32
    | (pg_catalog.nextval('drover.backend_counter') & 4294967295));
END $$`;

/** What {@link VERIFY} needs declared. */
export const VERIFY_DECLARE = `
  context text := pg_catalog.current_setting('drover.context', true);
  inner_pad bytea;
  outer_pad bytea;
  name text;`;

/**
 * Leaves the tenant's name in `name`, or NULL unless the context verifies. One statement reads the pads, one expression
 * computes: PL/pgSQL evaluates an expression without a table four times faster than the same expression in a SELECT FROM, and pays
 * for each expression anew in every transaction. The outer CASE keeps currval() away from sessions without a context.
 * Comparing hashes of the proofs keeps the comparison's timing free of information about the true proof.
 */
export const VERIFY = `
  SELECT n.pad_inner, n.pad_outer INTO inner_pad, outer_pad FROM drover.node n;
  name := CASE WHEN pg_catalog.length(context) > 67 THEN
    CASE WHEN pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.right(context, 65), 'UTF8'))
      = pg_catalog.sha256(pg_catalog.convert_to('|' || pg_catalog.encode(pg_catalog.sha256(outer_pad || pg_catalog.sha256(inner_pad
          || pg_catalog.convert_to(pg_catalog.left(context, -65) || '|' || pg_catalog.currval('drover.backend'), 'UTF8'))), 'hex'), 'UTF8'))
    THEN CASE WHEN pg_catalog.strpos(context, '=') = 0 THEN pg_catalog.split_part(context, '|', 1)
      ELSE drover.token_tenant(pg_catalog.split_part(context, '|', 1)) END END END;`;

/** Inverse of core's tenantToken(). */
export const TOKEN_TENANT_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.token_tenant(token text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_catalog.convert_from(pg_catalog.string_agg(
    CASE WHEN piece[1] LIKE '=%' THEN pg_catalog.decode(pg_catalog.substr(piece[1], 2), 'hex')
         ELSE pg_catalog.convert_to(piece[1], 'UTF8') END, '' ORDER BY position), 'UTF8')
  FROM pg_catalog.regexp_matches(token, '=[0-9A-F]{2}|[^=]+', 'g') WITH ORDINALITY AS pieces (piece, position)
$$`;

export const TENANT_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.tenant() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE${VERIFY_DECLARE}
BEGIN${VERIFY}
  RETURN name;
END $$`;

/**
 * The tenant as an integer or uuid, for columns of those types. NULL unless the name is the canonical spelling of the
 * value: otherwise tenant `07` would see the rows of tenant `7`.
 */
function typed(options: {
  name: string;
  from: string;
  volatility: string;
  type: string;
  test: string;
}): string {
  return `
CREATE OR REPLACE FUNCTION drover.${options.name}() RETURNS ${options.type}
LANGUAGE plpgsql ${options.volatility} SECURITY INVOKER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  tenant text := drover.${options.from}();
BEGIN
  IF ${options.test} THEN
    RETURN tenant::${options.type};
  END IF;
  RETURN NULL;
END $$`;
}

const IS_BIGINT = `tenant ~ '^(0|-?[1-9][0-9]{0,18})$' AND (pg_catalog.length(tenant) < 19
     OR tenant::numeric BETWEEN -9223372036854775808 AND 9223372036854775807)`;
const IS_UUID = `tenant ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'`;

export const TYPED_FUNCTIONS: readonly string[] = [
  typed({
    name: 'tenant_bigint',
    from: 'tenant',
    volatility: 'STABLE PARALLEL RESTRICTED',
    type: 'bigint',
    test: IS_BIGINT,
  }),
  typed({ name: 'writer_bigint', from: 'writer', volatility: 'VOLATILE', type: 'bigint', test: IS_BIGINT }),
  typed({
    name: 'tenant_uuid',
    from: 'tenant',
    volatility: 'STABLE PARALLEL RESTRICTED',
    type: 'uuid',
    test: IS_UUID,
  }),
  typed({ name: 'writer_uuid', from: 'writer', volatility: 'VOLATILE', type: 'uuid', test: IS_UUID }),
];
