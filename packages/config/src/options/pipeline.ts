/** The way of a change: from the WAL into the bus, from the bus into the replicas. */
import { GiB, KiB, MINUTE, MiB, type Option, optionsOf, SECOND } from './option.ts';

const cdc = optionsOf('cdc');
const apply = optionsOf('apply');

export const CDC: readonly Option[] = [
  cdc('block_bytes', 'size', 256 * KiB, '"256KiB"', 'A block is closed at this size.', {
    min: 4096,
    max: 16 * MiB,
  }),
  cdc(
    'compression',
    'choice',
    'auto',
    '"columns"',
    'How blocks are stored: as columns (fewest bytes, most CPU), by zstd, by snappy (half the CPU of zstd for blocks of 2 KB, about as much for large ones, 1.4 to 1.8 times the bytes), or not compressed; auto: columns for blocks of 8 KiB and more, profiles for smaller ones of busy tenants, zstd for the others and while catching up.',
    { choices: ['auto', 'columns', 'zstd', 'snappy', 'none'] },
  ),
  cdc('flush', 'duration', 10, '"10ms"', 'And at this age, while the bus is busy.', {
    min: 0,
    max: 10_000,
  }),
  cdc(
    'in_flight_bytes',
    'size',
    64 * MiB,
    '"64MiB"',
    'Bytes read and not yet acknowledged; at this bound reading stops.',
    { min: MiB },
  ),
  cdc('heartbeat', 'duration', 1000, '"1s"', 'Interval of heartbeats through the pipeline.', {
    min: 100,
  }),
  cdc(
    'key_patience',
    'duration',
    MINUTE,
    '"5m"',
    'How long a reader stands still for the key of a sealed tenant that cannot be had; then that tenant’s rows are withheld, and its replicas stop until they are copied anew.',
    { min: 0 },
  ),
  cdc(
    'chunk_bytes',
    'size',
    MiB,
    '"256KiB"',
    'PostgreSQL’s decoder holds no more than this of transactions in progress (or than its `logical_decoding_work_mem`, if that is less). Larger ones come in chunks of about this size, behind each of which everybody waits.',
    { min: 64 * KiB, max: GiB },
  ),
  cdc(
    'stream_above_bytes',
    'size',
    16 * MiB,
    '"4MiB"',
    'A transaction in progress of which more than this has come is published, and written at the replicas, before it has committed. Smaller ones wait in the reader for their commit; it keeps half of `in_flight_bytes` of all of them.',
    { min: 64 * KiB, max: GiB },
  ),
  cdc(
    'warn_retained',
    'size',
    4 * GiB,
    '"4GiB"',
    'WAL that a slot may keep on its source before it is warned of.',
    { min: MiB },
  ),
  cdc(
    'warn_safe_wal',
    'size',
    GiB,
    '"1GiB"',
    'It is warned of when no more than this may be written before PostgreSQL invalidates the slot (`max_slot_wal_keep_size`).',
    { min: 0 },
  ),
  cdc(
    'warn_time_left',
    'duration',
    30 * MINUTE,
    '"30m"',
    'And when that is so near at the rate at which WAL is written now.',
    { min: 0 },
  ),
];

export const APPLY: readonly Option[] = [
  apply('batch_bytes', 'size', 4 * MiB, '"4MiB"', 'Bytes merged into one transaction on the replica.', {
    min: 4096,
  }),
  apply('linger', 'duration', 0, '"0ms"', 'How long a batch that is not full waits for more.', {
    min: 0,
    max: 10 * SECOND,
  }),
];
