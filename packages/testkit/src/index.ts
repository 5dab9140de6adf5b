export { codeOf } from './code-of.ts';
export { compareTables, expectSameTables, type TableDifference, type Where } from './compare-tables.ts';
export type { Fault } from './fault-pipe.ts';
export { type Direction, FaultProxy } from './fault-proxy.ts';
export { type NewTenantOptions, newTenant } from './new-tenant.ts';
export { type PreparedOptions, preparedDatabase, TEST_CONTEXT_KEY } from './prepared-database.ts';
export { type TestNats, type TestNatsOptions, testNats } from './test-nats.ts';
export { testPort } from './test-port.ts';
export {
  ownPostgres,
  TEST_SECRET,
  type TestConnection,
  type TestPostgres,
  type TestPostgresOptions,
  testPassword,
  testPostgres,
  unique,
} from './test-postgres.ts';
export { testFolder, watchProcess } from './watchdog.ts';
