/** Whose a row is, what a tenant may expect, and what is captured besides rows. */
import { type Option, optionsOf } from './option.ts';

const tagging = optionsOf('tagging');
const tiers = optionsOf('tiers');
const capture = optionsOf('capture');

export const TAGGING: readonly Option[] = [
  tagging('mode', 'choice', 'column', '"column"', "Where a row's tenant stands.", {
    choices: ['column', 'schema', 'database'],
  }),
  tagging('column', 'text', 'tenant_id', '"tenant_id"', 'The tenant column of shared tables.'),
  tagging(
    'overrides',
    'map',
    {},
    '{ "public.pgbench_accounts" = "bid" }',
    'Tables whose tenant column has another name, by `schema.table`.',
  ),
  tagging(
    'reference',
    'list',
    [],
    '["public.plans"]',
    'Tables without a tenant, replicated everywhere: `schema.table` or `schema.*`.',
  ),
  tagging(
    'exclude',
    'list',
    [],
    '["public.schema_migrations"]',
    'Tables that are not captured: `schema.table` or `schema.*`.',
  ),
  tagging(
    'schema_prefix',
    'text',
    'tenant_',
    '"tenant_"',
    "Schema mode: the part of the schema's name before the tenant.",
  ),
  tagging(
    'database_prefix',
    'text',
    'tenant_',
    '"tenant_"',
    "Database mode: the part of the database's name before the tenant.",
  ),
];

export const TIERS: readonly Option[] = [
  tiers(
    'weight',
    'integer',
    1,
    '4',
    'Share of the work beside tenants of other tiers, in bytes, where they compete: in lanes of their own and in copies.',
    {
      min: 1,
      max: 1000,
    },
  ),
  tiers(
    'replicas',
    'integer',
    1,
    '1',
    'Clusters that stand by for a new tenant, as far as there are that many.',
    { min: 0, max: 15 },
  ),
];

export const CAPTURE: readonly Option[] = [
  capture(
    'ddl',
    'boolean',
    true,
    'true',
    'Schema changes travel with the rows; `drover setup` makes event triggers for it.',
  ),
];
