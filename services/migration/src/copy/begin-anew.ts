import { DroverError } from '@drover/core';

/** What was copied is of no use: the copy must begin anew. */
export class BeginAnew extends DroverError {}

/** Rows that are not of one moment met each other: unique and exclusion violations. */
export const MEETING: ReadonlySet<unknown> = new Set(['23505', '23P01']);
