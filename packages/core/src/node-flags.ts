/**
 * What V8 is told where a service of Drover runs (docs/adr/0012-collector-flags.md). Rows pass through in buffers beside the heap, tens of megabytes a second, and
 * by default every 64 MB of them begin a collection of the whole heap, which finds next to nothing. So what is beside the heap counts towards the heap's own bound
 * (`--external-memory-accounted-in-global-limit`), which begins at 96 MB and then is twice what the last collection has left.
 */
export const NODE_FLAGS: readonly string[] = [
  '--external-memory-accounted-in-global-limit',
  '--initial-old-space-size=96',
  '--heap-growing-percent=100',
];
