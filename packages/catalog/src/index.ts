export * from './placement.ts';
export * from './tenant.ts';
