/**
 * Moving a sequence on, while other tenants may be drawing from it: never backwards, and no number is handed out twice.
 *
 * `nextval` holds its lock on the sequence until its transaction ends, ALTER SEQUENCE keeps it out (SHARE ROW EXCLUSIVE): so what is
 * read behind an ALTER stays true until the commit. ALTER also gives the sequence a new file, by which other sessions know that the numbers
 * they hold in advance (CACHE) are not theirs any more (commands/sequence.c, init_sequence). Small steps, and those past a
 * transaction that does not end, are taken by drawing the numbers, which locks nobody out.
 *
 * Only an owner may ALTER a sequence. The function belongs to the setup user, a superuser or the owner of the tables, and does nothing
 * but this, for drover_admin alone.
 */

/** So few numbers are drawn rather than locked over: less than a millisecond. */
const DRAW_FIRST = 1000;
/** Numbers drawn at most in one call while the lock cannot be had: tens of milliseconds. */
const DRAW_MAX = 100_000;
/** As long are other sessions' draws held up by our waiting for the lock. */
const LOCK_WAIT = '100ms';

/** True: the next number lies beyond `p_value` in the sequence's direction, as far as its bounds allow. False: it is in use; call again. */
export const CARRY_SEQUENCE_FUNCTION = `
CREATE OR REPLACE FUNCTION drover.carry_sequence(p_sequence oid, p_value bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '${LOCK_WAIT}'
AS $$
DECLARE
  q record; was record; drawn bigint; goal bigint; up integer; draws numeric;
BEGIN
  SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, s.* INTO q
  FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE s.seqrelid = p_sequence AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'drover';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no sequence of number % to carry on', p_sequence USING ERRCODE = '42P01';
  END IF;
  up := pg_catalog.sign(q.seqincrement)::integer;
  goal := least(greatest(p_value, q.seqmin), q.seqmax);
  EXECUTE 'SELECT s.last_value::numeric AS last, s.is_called FROM ' || q.name || ' s' INTO was;
  draws := pg_catalog.ceil((goal - was.last) / q.seqincrement) + CASE WHEN was.is_called THEN 0 ELSE 1 END;
  -- What the sequence has given out already may lie in advance with another session, which would use it from now on.
  IF draws <= 0 AND q.seqcache = 1 THEN
    RETURN true;
  END IF;
  IF q.seqcycle OR q.seqcache > 1 OR draws > ${DRAW_FIRST} THEN
    BEGIN
      EXECUTE pg_catalog.format('ALTER SEQUENCE %s CACHE %s', q.name, q.seqcache);
      EXECUTE 'SELECT s.last_value::numeric AS last, s.is_called FROM ' || q.name || ' s' INTO was;
      IF (goal - was.last) * up > 0 OR goal = was.last AND NOT was.is_called THEN
        PERFORM pg_catalog.setval(p_sequence::regclass, goal, true);
      END IF;
      RETURN true;
    EXCEPTION WHEN lock_not_available THEN
      -- Another session's numbers in advance stay below the goal, and those of a cycle come again: both only go with the lock.
      IF q.seqcycle OR q.seqcache > 1 THEN
        RETURN false;
      END IF;
    END;
  END IF;
  FOR i IN 1 .. least(draws, ${DRAW_MAX}) LOOP
    drawn := pg_catalog.nextval(p_sequence::regclass);
    IF (drawn::numeric - goal) * up >= 0 THEN
      RETURN true;
    END IF;
  END LOOP;
  RETURN false;
EXCEPTION WHEN sequence_generator_limit_exceeded THEN
  RETURN true;
END $$`;

/**
 * One transaction for each sequence, so that a lock is held for no longer than its own. Gives back those that are in use. The caller's next
 * durable commit makes all of it durable: WAL is flushed in order.
 */
export const CARRY_SEQUENCES_PROCEDURE = `
CREATE OR REPLACE PROCEDURE drover.carry_sequences(p_sequences oid[], p_values bigint[], INOUT behind oid[])
LANGUAGE plpgsql
AS $$
BEGIN
  behind := '{}';
  FOR i IN 1 .. coalesce(pg_catalog.array_length(p_sequences, 1), 0) LOOP
    PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
    IF NOT drover.carry_sequence(p_sequences[i], p_values[i]) THEN
      behind := behind OPERATOR(pg_catalog.||) p_sequences[i];
    END IF;
    COMMIT;
  END LOOP;
END $$`;
