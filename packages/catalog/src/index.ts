export * from './catalog.ts';
export * from './placement.ts';
export * from './placement-steps.ts';
export * from './placement-view.ts';
export * from './tenant.ts';
