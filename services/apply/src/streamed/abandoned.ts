/** Why a transaction in progress is not kept open at the target. Nothing is lost by it: see group.ts. */
export class Abandoned extends Error {}
