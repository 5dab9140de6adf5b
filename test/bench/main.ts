/** `npm run bench`: Drover beside PostgreSQL's own logical replication and PgBouncer, on this machine. `--help` tells the flags. */
const [major = 0] = process.versions.node.split('.').map(Number);
if (major < 24) {
  process.stderr.write(
    `The benchmark needs Node 24, this is ${process.version}: start it with \`npm run bench\` after \`npm ci\`.\n`,
  );
  process.exit(1);
}
const { bench } = await import('./bench.ts');
process.exitCode = await bench(process.argv.slice(2));
