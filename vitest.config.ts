import { defineConfig } from 'vitest/config';

/** What is waited for comes within milliseconds, or within seconds on a machine that has much else to do. */
const expect = { poll: { timeout: 30_000 } };

/** The message of a failure is all that CI's last lines show: with its values, not `{ …(3) }`. */
const chaiConfig = { truncateThreshold: 600 };

/** Suites by what they need: `unit` nothing, `servers` real PostgreSQL and NATS, `data` capture and apply between two
 * clusters, `system` everything together. */
export default defineConfig({
  test: {
    reporters: ['default'],
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'packages/**/*.test.ts',
            'services/**/*.test.ts',
            'test/{architecture,bench}/**/*.test.ts',
          ],
          exclude: ['**/*.pg.test.ts', '**/*.nats.test.ts', '**/node_modules/**'],
          testTimeout: 60_000,
          expect,
          chaiConfig,
        },
      },
      {
        test: {
          name: 'servers',
          include: ['packages/**/*.{pg,nats}.test.ts', 'services/**/*.{pg,nats}.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          expect,
          chaiConfig,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'system',
          include: ['test/{e2e,chaos,isolation,compat}/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 300_000,
          expect,
          chaiConfig,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'data',
          include: ['test/data/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 300_000,
          expect,
          chaiConfig,
          fileParallelism: false,
        },
      },
    ],
  },
});
