/** How a column leans on another. Part of the format. */
export const Wrapper = {
  none: 0,
  /** Numbers less those of another column, or less the commit time. */
  difference: 1,
  /** Rows in the order that brings equal values of another column together. */
  grouped: 2,
  /** As another column, except for the rows that differ. */
  same: 3,
} as const;
export type Wrapper = (typeof Wrapper)[keyof typeof Wrapper];
