/** How a column of bytes is coded. Part of the format; ids of the registry start at 16. */
export const TextCode = {
  plain: 0,
  constant: 1,
  dict: 2,
  raw: 3,
  transposed: 4,
  uuid: 5,
  uuidText: 6,
} as const;

/** A dictionary's entries and a UUID's bytes are columns of their own, which may not nest again. */
export const DEPTH_MAX = 2;
