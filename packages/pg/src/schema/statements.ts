/** The schema in the order in which it is installed. Every statement may be run again on an installed schema. */
import { createHash } from 'node:crypto';
import {
  ATTACH_FUNCTION,
  BACKEND_SEQUENCES,
  TENANT_FUNCTION,
  TOKEN_TENANT_FUNCTION,
  TYPED_FUNCTIONS,
} from './context.sql.ts';
import { COPY_TABLE } from './copy.sql.ts';
import { DDL_GRANTS, DDL_TABLES } from './ddl-tables.sql.ts';
import { EPOCH_TABLE } from './epoch.sql.ts';
import { GRANTS } from './grants.sql.ts';
import { LEDGER_INDEXES, LEDGER_TABLE } from './ledger.sql.ts';
import {
  CLOSE_TENANT_FUNCTION,
  FOLLOW_TENANT_FUNCTION,
  FORGET_TENANT_FUNCTION,
  LOCK_TENANT_FUNCTION,
  OPEN_TENANT_FUNCTION,
} from './moves.sql.ts';
import { NODE_SLOT_COLUMN, NODE_TABLE } from './node.sql.ts';
import { READER_FORM_COLUMN, READER_RULED_COLUMN, READER_TABLE } from './reader.sql.ts';
import {
  STREAM_POSITION_APPLIED_COLUMNS,
  STREAM_POSITION_LINEAGE_COLUMNS,
  STREAM_POSITION_TABLE,
} from './stream-position.sql.ts';
import {
  LOCK_KNOWN_FUNCTION,
  MET_BY_FUNCTION,
  MET_FUNCTION,
  TAKE_TURN_FUNCTION,
  TENANT_FORM,
  TENANT_TABLE,
} from './tenant.sql.ts';
import { LOCK_CLASS_FUNCTION, WRITER_FUNCTION } from './writer.sql.ts';
import { TERMINATE_WRITERS_FUNCTION, WRITERS_FUNCTION } from './writers.sql.ts';

/** Raised when the tables change in a way that needs a step of its own in {@link STATEMENTS}, or readers must notice. */
export const SCHEMA_VERSION = 1;

export const STATEMENTS: readonly string[] = [
  TENANT_TABLE, // before the node, as whoever moves a tenant locks them
  ...TENANT_FORM,
  NODE_TABLE,
  NODE_SLOT_COLUMN,
  EPOCH_TABLE,
  STREAM_POSITION_TABLE,
  STREAM_POSITION_LINEAGE_COLUMNS,
  STREAM_POSITION_APPLIED_COLUMNS,
  READER_TABLE,
  READER_FORM_COLUMN,
  READER_RULED_COLUMN,
  LEDGER_TABLE,
  ...LEDGER_INDEXES,
  COPY_TABLE,
  ...DDL_TABLES,
  ...BACKEND_SEQUENCES,
  LOCK_CLASS_FUNCTION,
  TOKEN_TENANT_FUNCTION,
  ATTACH_FUNCTION,
  TENANT_FUNCTION,
  WRITER_FUNCTION,
  ...TYPED_FUNCTIONS,
  LOCK_KNOWN_FUNCTION,
  MET_FUNCTION,
  MET_BY_FUNCTION,
  TAKE_TURN_FUNCTION,
  LOCK_TENANT_FUNCTION,
  CLOSE_TENANT_FUNCTION,
  OPEN_TENANT_FUNCTION,
  FOLLOW_TENANT_FUNCTION,
  FORGET_TENANT_FUNCTION,
  WRITERS_FUNCTION,
  TERMINATE_WRITERS_FUNCTION,
  ...GRANTS,
  ...DDL_GRANTS,
];

/** Changes with every change of the statements: what is installed and equal is left alone, without a lock taken. */
export const FINGERPRINT: string = createHash('sha256')
  .update(STATEMENTS.join('\n;\n'))
  .digest('hex')
  .slice(0, 16);
