/** How tenants come to other clusters: moved there, or copied. */
import { MINUTE, type Option, optionsOf } from './option.ts';

const failover = optionsOf('failover');
const migration = optionsOf('migration');

export const FAILOVER: readonly Option[] = [
  failover('auto', 'boolean', true, 'true', 'Promote the tenants of a dead cluster without asking.'),
  failover('grace', 'duration', 3000, '"3s"', 'How long the signs of death must last.', {
    min: 500,
  }),
  failover('min_signals', 'integer', 3, '3', 'Different signals that must fail.', {
    min: 1,
    max: 8,
  }),
  failover('min_observers', 'integer', 2, '2', 'Observers that must see it.', { min: 1 }),
  failover(
    'cooldown',
    'duration',
    MINUTE,
    '"60s"',
    'A tenant that was failed over stays for at least this long.',
    { min: 0 },
  ),
  failover(
    'drain_timeout',
    'duration',
    5000,
    '"5s"',
    'A planned switch-over is called off when it waits longer.',
    { min: 100 },
  ),
  failover('parallel', 'integer', 16, '16', 'Tenants moved at once.', { min: 1, max: 256 }),
];

export const MIGRATION: readonly Option[] = [
  migration('chunk_rows', 'integer', 10_000, '10000', 'Rows of one chunk of a copy.', { min: 1 }),
  migration(
    'parallel',
    'integer',
    2,
    '2',
    'Tenants copied at once; of these, half move rows at any moment, by the weight of their tiers.',
    { min: 1, max: 64 },
  ),
];
