/** What both sides hold to. Part of the format. */

/** First byte of what is stored. */
export const COLUMNAR_VERSION = 1;
/** Smaller bodies are not worth the work. */
export const RAW_BYTES_MIN = 512;
/** Larger ones would take too much memory on both sides. */
export const COLUMNAR_RAW_BYTES_MAX = 16 * 1024 * 1024;
/**
 * Decoding may allocate so many bytes in all per byte of the body, and so many besides. Columns take a few times the bytes of the tuples they
 * came from: eight per number, and as much again while they are put together. A writer reads back what it wrote, so it never exceeds this.
 */
export const BUDGET_FACTOR = 32;
export const BUDGET_BYTES = 1024 * 1024;
